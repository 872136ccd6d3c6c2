// Elements into containers of whole bytes, repeating the sign.
//
// Timing: combinational.
module lutra_widen #(
  parameter int unsigned Lanes = 1,         // elements
  parameter int unsigned Bits = 8,          // of an element
  parameter bit          Signed = 1'b1,     // whether elements have a sign
  parameter int unsigned ContainerBits = 8  // from Bits on
) (
  input  logic [Lanes*Bits-1:0]          data_i,  // elements, the first in the lowest bits
  output logic [Lanes*ContainerBits-1:0] data_o   // containers, the first in the lowest bits
);

  if (Lanes < 1 || Bits < 1 || ContainerBits < Bits) begin : gen_wrong
    $error("Lanes and Bits must be at least 1, ContainerBits at least Bits");
  end

  for (genvar l = 0; l < Lanes; l++) begin : gen_lane
    assign data_o[l*ContainerBits +: Bits] = data_i[l*Bits +: Bits];
    if (ContainerBits > Bits) begin : gen_rest
      assign data_o[l*ContainerBits+Bits +: ContainerBits-Bits] = {ContainerBits-Bits{Signed && data_i[l*Bits+Bits-1]}};
    end
  end

endmodule
