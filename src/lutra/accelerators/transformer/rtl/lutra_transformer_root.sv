// Square root of an integer, rounded down: one bit of the root per cycle, the highest first.
//
// The rest, what the square of the bits so far leaves of the value, is at most twice the root, so that 26 bits hold it
// before every step. After the last one nobody needs it. As root and rest are still short by a bit, a sign bit is enough
// for the trial difference too.
//
// Timing: start_i in cycle t, done_o in cycle t + 27, in which the next start may come. root_o stays until then.
module lutra_transformer_root (
  input  logic        clk_i,    // clock
  input  logic        rst_ni,   // synchronous reset, active low
  input  logic        start_i,  // take value_i; not while a root is under way
  input  logic [51:0] value_i,  // the value, unsigned
  output logic        done_o,   // root_o is there, for one cycle
  output logic [25:0] root_o    // the largest integer whose square is at most the value
);

  localparam logic [4:0] LastStep = 5'd25;

  logic        busy_q, last;
  logic [4:0]  step_q;
  logic [51:0] value_q;  // what is left of it, from the top
  logic [25:0] root_q, rest_q;
  logic [27:0] trial, rest;
  logic [27:0] difference;
  logic        fits;

  assign last       = busy_q && step_q == LastStep;
  assign root_o     = root_q;
  assign trial      = {rest_q, value_q[51:50]};
  assign difference = trial - {root_q, 2'b01};
  assign fits       = !difference[27];
  assign rest       = fits ? difference : trial;

  logic unused_last_rest;
  assign unused_last_rest = ^rest[27:26];

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      busy_q <= 1'b0;
      done_o <= 1'b0;
    end else begin
      busy_q <= start_i || (busy_q && !last);
      done_o <= last;
    end
    if (start_i) begin
      step_q  <= '0;
      value_q <= value_i;
      root_q  <= '0;
      rest_q  <= '0;
    end else if (busy_q) begin
      step_q  <= step_q + 1'b1;
      value_q <= value_q << 2;
      root_q  <= {root_q[24:0], fits};
      rest_q  <= rest[25:0];
    end
  end

endmodule
