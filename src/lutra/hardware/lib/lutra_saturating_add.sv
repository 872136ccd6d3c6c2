// Sum of two integers, clamped to their width.
//
// Timing: combinational.
module lutra_saturating_add #(
  parameter int unsigned Bits = 16  // of a term and of the sum, at least 2
) (
  input  logic [Bits-1:0] x_i,   // two's complement
  input  logic [Bits-1:0] y_i,   // two's complement
  output logic [Bits-1:0] sum_o  // two's complement
);

  if (Bits < 2) begin : gen_wrong
    $error("Bits must be at least 2");
  end

  logic [Bits:0] sum;

  assign sum   = {x_i[Bits-1], x_i} + {y_i[Bits-1], y_i};
  assign sum_o = sum[Bits] == sum[Bits-1] ? sum[Bits-1:0] : {sum[Bits], {Bits-1{!sum[Bits]}}};

endmodule
