// Starts the steps of a module's program one after the other, and keeps step with the other module.
//
// A step that waits starts only when the other module has ended a job that no earlier step has waited for: feed-forward
// blocks wait for attention, attention for the feed-forward block of the same sentence.
//
// Timing: a step starts in the cycle after the one before is done, if it is loaded and what it waits for has come by then.
module lutra_bat_controller (
  input  logic          clk_i,            // clock
  input  logic          rst_ni,           // synchronous reset, active low
  input  logic [1:0]    loaded_i,         // banks that hold a step
  input  logic [1023:0] instruction_0_i,  // instruction in bank 0
  input  logic [1023:0] instruction_1_i,  // instruction in bank 1
  output logic          bank_o,           // bank of the step that runs or runs next
  output logic [1023:0] step_o,           // its instruction; changes only while nothing is under way
  output logic          start_o,          // it starts
  output logic          end_o,            // it is done
  output logic          program_end_o,    // and it was the last one
  output logic          job_end_o,        // or the last one of a job
  input  logic          peer_job_end_i,   // the other module has ended a job
  input  logic          stored_i,         // the step's last codes are being written
  input  logic          written_i         // the step's last row has reached memory
);

  localparam int unsigned Jobs = 4;  // bits of the number of jobs that nobody has waited for

  logic            running_q, stored_q, written_q, waits, last, job_last, use_norm, store;
  logic [Jobs-1:0] jobs_q;

  assign step_o        = bank_o ? instruction_1_i : instruction_0_i;
  assign use_norm      = step_o[5];
  assign store         = step_o[15];
  assign last          = step_o[16];
  assign waits         = step_o[17];
  assign job_last      = step_o[18];
  assign start_o       = !running_q && loaded_i[bank_o] && (!waits || jobs_q != '0);
  assign end_o         = running_q && (!store || stored_q || stored_i) && (!use_norm || written_q || written_i);
  assign program_end_o = end_o && last;
  assign job_end_o     = end_o && job_last;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      bank_o    <= 1'b0;
      running_q <= 1'b0;
      stored_q  <= 1'b0;
      written_q <= 1'b0;
      jobs_q    <= '0;
    end else begin
      running_q <= start_o || (running_q && !end_o);
      bank_o    <= bank_o ^ end_o;
      stored_q  <= !end_o && (stored_q || stored_i);
      written_q <= !end_o && (written_q || written_i);
      jobs_q    <= jobs_q + Jobs'(peer_job_end_i) - Jobs'(start_o && waits);
    end
  end

endmodule
