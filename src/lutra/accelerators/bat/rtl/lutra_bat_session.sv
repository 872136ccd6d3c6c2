// Runs BAT's modules once: resets them, starts all, waits for the last one, and counts.
//
// Timing: start_i in t; the modules are reset from t + 1 on for two cycles and start in t + 3. done_o comes in the cycle of
// the last module's done_i. cycles_o counts from the modules' start to that cycle, both included.
module lutra_bat_session #(
  parameter int unsigned Modules = 2,   // how many
  parameter int unsigned RowBeats = 8,  // beats of a row in memory
  parameter int unsigned BeatBits = 4   // of a number of beats up to RowBeats
) (
  input  logic               clk_i,      // clock
  input  logic               rst_ni,     // synchronous reset, active low
  input  logic               start_i,    // begin; never while busy_o
  output logic               busy_o,     // the modules run
  output logic               done_o,     // they are done, for one cycle
  output logic               rst_no,     // the modules' reset, active low
  output logic               start_o,    // start them
  input  logic [Modules-1:0] done_i,     // a module is done
  input  logic [Modules-1:0] written_i,  // a module writes a beat of a row
  output logic [31:0]        rows_o,     // rows that were written
  output logic [31:0]        cycles_o    // cycles of the run
);

  if (Modules < 1 || RowBeats < 1 || 2**BeatBits <= RowBeats) begin : gen_wrong
    $error("Modules and RowBeats must be at least 1, and BeatBits enough for RowBeats");
  end

  typedef enum logic [2:0] {Idle, Clear, Cleared, Start, Run} state_e;
  state_e state_q;

  logic [Modules-1:0] finished_q, whole;
  logic [31:0]        rows_q, cycles_q, more;
  logic               rst_nq;

  assign busy_o  = state_q != Idle;
  assign done_o  = state_q == Run && (&(finished_q | done_i));
  assign start_o = state_q == Start;
  assign rst_no  = rst_nq;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      state_q <= Idle;
    end else begin
      unique case (state_q)
        Idle:    state_q <= start_i ? Clear : Idle;
        Clear:   state_q <= Cleared;
        Cleared: state_q <= Start;
        Start:   state_q <= Run;
        default: state_q <= done_o ? Idle : Run;
      endcase
    end
    rst_nq     <= rst_ni && !(state_q == Idle && start_i) && state_q != Clear;
    finished_q <= state_q == Run ? finished_q | done_i : '0;
  end

  for (genvar m = 0; m < Modules; m++) begin : gen_module
    logic [BeatBits-1:0] beat_q;

    assign whole[m] = written_i[m] && beat_q == BeatBits'(RowBeats - 1);
    always_ff @(posedge clk_i) begin
      if (!rst_ni || start_o || whole[m]) begin
        beat_q <= '0;
      end else begin
        beat_q <= beat_q + BeatBits'(written_i[m]);
      end
    end
  end

  always_comb begin
    more = '0;
    for (int unsigned m = 0; m < Modules; m++) begin
      more = more + 32'(whole[m]);
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni || state_q == Clear) begin
      rows_q   <= '0;
      cycles_q <= '0;
    end else begin
      rows_q   <= rows_q + more;
      cycles_q <= cycles_q + 32'((start_o || state_q == Run) && !(&cycles_q));
    end
  end

  assign rows_o   = rows_q;
  assign cycles_o = cycles_q;

endmodule
