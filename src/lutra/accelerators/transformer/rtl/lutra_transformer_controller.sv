// Walks the program: fetches a step, starts its unit, waits until it is done, goes on to the next one.
//
// Timing: start_i in t, first step fetched in t + 1. A step's word is there, and its unit starts, in the cycle after it
// is fetched; the next step is fetched in the cycle after unit_done_i. Op 0 ends the program: busy_o is 0 in the cycle
// after it would have started.
module lutra_transformer_controller #(
  parameter int unsigned AddressBits = 8  // bits of an address in the program
) (
  input  logic                   clk_i,        // clock
  input  logic                   rst_ni,       // synchronous reset, active low
  input  logic                   start_i,      // begin with step 0
  output logic                   busy_o,       // the program runs
  output logic                   fetch_o,      // read a step
  output logic [AddressBits-1:0] step_o,       // which; also while it runs
  input  logic [3:0]             op_i,         // what it does
  output logic                   unit_start_o,  // start its unit
  input  logic                   unit_done_i   // the unit is done
);

  if (AddressBits < 1) begin : gen_wrong
    $error("AddressBits must be at least 1");
  end

  typedef enum logic [1:0] {Idle, Fetch, Start, Run} state_e;
  state_e state_q;

  logic ends;

  assign ends         = op_i == '0;
  assign busy_o       = state_q != Idle;
  assign fetch_o      = state_q == Fetch;
  assign unit_start_o = state_q == Start && !ends;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      state_q <= Idle;
      step_o  <= '0;
    end else begin
      unique case (state_q)
        Idle:    if (start_i) state_q <= Fetch;
        Fetch:   state_q <= Start;
        Start:   state_q <= ends ? Idle : Run;
        default: if (unit_done_i) state_q <= Fetch;
      endcase
      if (state_q == Idle) begin
        step_o <= '0;
      end else if (state_q == Run && unit_done_i) begin
        step_o <= step_o + 1'b1;
      end
    end
  end

endmodule
