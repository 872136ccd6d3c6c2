// The square of a binary16 number in units of 2**-20, rounded half up to whole ones.
//
// Timing: latency of two cycles with enable_i. Squares from 2**47 units on are given as 2**47.
module lutra_bat_square_lane (
  input  logic        clk_i,     // clock
  input  logic        enable_i,  // advance the pipeline
  input  logic [14:0] x_i,       // magnitude of a binary16 number, finite
  output logic [47:0] y_o        // floor(x**2 * 2**20 + 1/2)
);

  logic [4:0]  exponent_q;
  logic [21:0] square_q;

  // x = significand * 2**(exponent - 25): the square of the significand moves 2 * exponent - 30 places.
  // A function is evaluated only when the pipeline advances.
  function automatic logic [47:0] on_grid(input logic [4:0] exponent, input logic [21:0] square);
    logic [51:0] moved;

    if (exponent >= 5'd15) begin
      moved   = {30'd0, square} << {exponent - 5'd15, 1'b0};
      on_grid = moved[51:47] != '0 ? {1'b1, 47'd0} : moved[47:0];
    end else begin
      moved   = {29'd0, square, 1'b0} >> {5'd15 - exponent, 1'b0};
      on_grid = {1'b0, moved[47:1]} + {47'd0, moved[0]};
    end
  endfunction

  always_ff @(posedge clk_i) begin
    if (enable_i) begin
      exponent_q <= {x_i[14:11], x_i[10] | ~|x_i[14:10]};
      square_q   <= {11'd0, |x_i[14:10], x_i[9:0]} * {11'd0, |x_i[14:10], x_i[9:0]};
      y_o        <= on_grid(exponent_q, square_q);
    end
  end

endmodule
