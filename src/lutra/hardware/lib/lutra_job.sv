// Follows a packet of rows through an accelerator: when its input is taken, when its last output beat leaves, how many
// rows and cycles that took.
//
// A job begins with start_i (or with the end of the one before, if auto_start_i says so), takes one packet, and is done when
// nothing of it is left inside. Then the counters keep their values until the first beat of the next packet.
//
// Timing: input is taken from the cycle after start_i on, and no more from the cycle after a packet's last beat on. done_o
// comes in the cycle after the last output beat. Cycles are counted from the first input beat to the last output beat, both
// included; counters stop at their largest value.
module lutra_job #(
  parameter int unsigned FlightBits = 8  // of the number of rows that can be inside the accelerator
) (
  input  logic        clk_i,           // clock
  input  logic        rst_ni,          // synchronous reset, active low
  input  logic        start_i,         // start a job; nothing happens while one is there
  input  logic        auto_start_i,    // start the next one when a job is done
  output logic        busy_o,          // a job is there
  output logic        done_o,          // it is done, for one cycle
  output logic        accept_o,        // its input is taken
  input  logic        in_valid_i,      // a beat of input is offered
  input  logic        in_beat_i,       // and taken
  input  logic        in_last_i,       // it is the packet's last
  output logic        ended_o,         // the packet's last beat has come
  input  logic        in_empty_i,      // what has come has gone on, in whole rows
  input  logic        row_in_i,        // a row is complete in front of the accelerator
  input  logic        row_out_i,       // a row has left the accelerator
  output logic        drained_o,       // all rows of the packet have left it
  input  logic        out_empty_i,     // and nothing of them is left
  input  logic        out_stalled_i,   // an output beat waits
  output logic [31:0] rows_o,          // rows that have left the accelerator
  output logic [31:0] cycles_o,        // cycles of the job
  output logic [31:0] in_stalls_o,     // of these, cycles in which input was wanted and not offered
  output logic [31:0] out_stalls_o     // cycles in which output was offered and not taken
);

  if (FlightBits < 1) begin : gen_wrong
    $error("FlightBits must be at least 1");
  end

  logic accept_q, ended_q, running_q;
  logic [FlightBits-1:0] flight_q;
  logic [31:0] rows_q, cycles_q, in_stalls_q, out_stalls_q;
  logic first, counting;

  assign accept_o  = accept_q;
  assign ended_o   = ended_q;
  assign busy_o    = accept_q || ended_q;
  assign drained_o = ended_q && in_empty_i && flight_q == '0;
  assign done_o    = drained_o && out_empty_i;
  assign first     = in_beat_i && !running_q;
  assign counting  = running_q && !done_o;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      accept_q  <= 1'b0;
      ended_q   <= 1'b0;
      running_q <= 1'b0;
      flight_q  <= '0;
    end else begin
      if (in_beat_i && in_last_i) begin
        accept_q <= 1'b0;
        ended_q  <= 1'b1;
      end else if (done_o) begin
        accept_q <= auto_start_i;
        ended_q  <= 1'b0;
      end else if (start_i && !busy_o) begin
        accept_q <= 1'b1;
      end
      running_q <= (running_q || in_beat_i) && !done_o;
      flight_q  <= flight_q + FlightBits'(row_in_i) - FlightBits'(row_out_i);
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni || first) begin
      rows_q       <= '0;
      cycles_q     <= {31'd0, first};
      in_stalls_q  <= '0;
      out_stalls_q <= '0;
    end else begin
      rows_q       <= rows_q + {31'd0, row_out_i && !(&rows_q)};
      cycles_q     <= cycles_q + {31'd0, counting && !(&cycles_q)};
      in_stalls_q  <= in_stalls_q + {31'd0, counting && accept_q && !in_valid_i && !(&in_stalls_q)};
      out_stalls_q <= out_stalls_q + {31'd0, out_stalled_i && !(&out_stalls_q)};
    end
  end

  assign rows_o       = rows_q;
  assign cycles_o     = cycles_q;
  assign in_stalls_o  = in_stalls_q;
  assign out_stalls_o = out_stalls_q;

endmodule
