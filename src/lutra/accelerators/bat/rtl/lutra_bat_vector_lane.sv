// One lane of the vector unit: base + sum * 2**-exponent * factor, or base + residual, each operation rounded.
//
// A residual takes the way of the sums, with the factor 1, which leaves it as it is.
//
// Timing: what is given in stage 0 leaves as y_o after five cycles with enable_i; base_i is wanted in stage 3, that is
// three such cycles later.
module lutra_bat_vector_lane #(
  parameter int unsigned SumBits = 14  // of a sum of the engine
) (
  input  logic               clk_i,           // clock
  input  logic               enable_i,        // advance the pipeline
  input  logic [SumBits-1:0] sum_i,           // stage 0: two's complement
  input  logic [4:0]         exponent_i,      // of the sum, the same for all lanes and beats
  input  logic [15:0]        factor_i,        // stage 0: binary16
  input  logic [15:0]        residual_i,      // stage 0: binary16
  input  logic               use_residual_i,  // stage 0: add residual_i, not the sum
  input  logic [15:0]        base_i,          // stage 3: binary16; -0 for none
  output logic [15:0]        y_o,             // binary16
  output logic               overflow_o       // y_o, or the product in it, left the range
);

  localparam logic [15:0] One = 16'h3C00;

  logic [15:0] converted, residual_q, factor_q, scaled;
  logic        use_residual_q;
  logic [1:0]  overflow_q;  // of the product, delayed to y_o

  lutra_binary16_from_integer #(.Bits(SumBits)) u_convert (
    .clk_i, .enable_i, .a_i(sum_i), .exponent_i, .y_o(converted)
  );
  lutra_binary16_multiply u_multiply (
    .clk_i, .enable_i, .a_i(use_residual_q ? residual_q : converted), .b_i(factor_q), .y_o(scaled)
  );
  lutra_binary16_add u_add (.clk_i, .enable_i, .a_i(base_i), .b_i(scaled), .y_o);

  always_ff @(posedge clk_i) begin
    if (enable_i) begin
      factor_q       <= use_residual_i ? One : factor_i;
      residual_q     <= residual_i;
      use_residual_q <= use_residual_i;
      overflow_q     <= {overflow_q[0], &scaled[14:10]};
    end
  end

  assign overflow_o = overflow_q[1] || &y_o[14:10];

endmodule
