// Reciprocal of an integer to 17 significant bits, rounded down: floor(2**(16 + e) / v), e the place of v's leading one.
//
// Restoring division, one bit of the quotient per cycle. The part of the dividend that gives no quotient is the power of
// two itself, so that the steps begin with the quotient's first bit, which only a power of two sets.
//
// Timing: start_i in cycle t, done_o in cycle t + 18, in which the next start may come. The results stay until then.
module lutra_transformer_reciprocal #(
  parameter int unsigned ValueBits = 26  // of a value, 2 to 36
) (
  input  logic                 clk_i,      // clock
  input  logic                 rst_ni,     // synchronous reset, active low
  input  logic                 start_i,    // take value_i; not while a reciprocal is under way
  input  logic [ValueBits-1:0] value_i,    // the value, unsigned, from 1
  output logic                 done_o,     // the results are there, for one cycle
  output logic [16:0]          factor_o,   // 2**15 + 1 to 2**16
  output logic [5:0]           exponent_o  // the place of the value's leading one
);

  if (ValueBits < 2 || ValueBits > 36) begin : gen_wrong
    $error("ValueBits must be from 2 to 36");
  end

  localparam int unsigned Levels = $clog2(ValueBits);
  localparam logic [4:0] LastStep = 5'd16;

  logic                 busy_q, last;
  logic [4:0]           step_q;
  logic [ValueBits-1:0] value_q;
  logic [Levels-1:0]    zeros, exponent;
  logic [5:0]           exponent_q;
  logic [16:0]          factor_q;
  logic [ValueBits:0]   rest_q;  // below twice the value, so that a sign bit is enough
  logic [ValueBits-1:0] rest;    // below the value
  logic [ValueBits:0]   difference;
  logic                 fits, unused_empty;

  assign last       = busy_q && step_q == LastStep;
  assign factor_o   = factor_q;
  assign exponent_o = exponent_q;
  assign exponent   = ~zeros;
  assign difference = rest_q - {1'b0, value_q};
  assign fits       = !difference[ValueBits];
  assign rest       = fits ? difference[ValueBits-1:0] : rest_q[ValueBits-1:0];

  lutra_leading_zeros #(.Levels(Levels)) u_leading (
    .word_i((2**Levels)'(value_i)), .empty_o(unused_empty), .zeros_o(zeros)
  );

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      busy_q <= 1'b0;
      done_o <= 1'b0;
    end else begin
      busy_q <= start_i || (busy_q && !last);
      done_o <= last;
    end
    if (start_i) begin
      step_q     <= '0;
      value_q    <= value_i;
      exponent_q <= 6'(exponent);
      rest_q     <= (ValueBits+1)'(1) << exponent;
    end else if (busy_q) begin
      step_q   <= step_q + 1'b1;
      factor_q <= {factor_q[15:0], fits};
      rest_q   <= {rest, 1'b0};
    end
  end

endmodule
