// One thermometer bit: is the activation at or above a threshold?
//
// Timing: combinational.
module lutra_threshold #(
  parameter int unsigned Bits = 8,  // bits of the activation
  parameter bit Signed = 1'b1       // the activation is two's complement
) (
  input  logic [Bits-1:0] x_i,          // activation
  input  logic [Bits-1:0] threshold_i,  // threshold minus the smallest activation
  output logic            bit_o         // 1 if the activation reaches the threshold
);

  if (Bits < 2) begin : gen_wrong
    $error("Bits must be at least 2");
  end

  // Flipping the sign bit turns two's complement into an offset from the smallest value.
  logic [Bits-1:0] offset;
  assign offset = x_i ^ {Signed, {(Bits-1){1'b0}}};
  assign bit_o = offset >= threshold_i;

endmodule
