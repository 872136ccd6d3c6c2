// Elements out of containers of whole bytes, and whether one of them is beyond what its type can hold.
//
// Timing: combinational.
module lutra_narrow #(
  parameter int unsigned Lanes = 1,           // elements
  parameter int unsigned Bits = 8,            // of an element
  parameter bit          Signed = 1'b1,       // whether elements have a sign
  parameter int unsigned ContainerBits = 8,   // from Bits on
  parameter int unsigned LastLanes = 1        // elements of a row's last beat
) (
  input  logic [Lanes*ContainerBits-1:0] data_i,    // containers, the first in the lowest bits
  input  logic                           last_i,    // it is a row's last beat
  output logic [Lanes*Bits-1:0]          data_o,    // elements, the first in the lowest bits
  output logic                           outside_o  // a container holds more than an element
);

  if (Lanes < 1 || Bits < 1 || ContainerBits < Bits || LastLanes < 1 || LastLanes > Lanes) begin : gen_wrong
    $error("Lanes, Bits and LastLanes must be at least 1, ContainerBits at least Bits, LastLanes at most Lanes");
  end

  logic [Lanes-1:0] outside;
  for (genvar l = 0; l < Lanes; l++) begin : gen_lane
    assign data_o[l*Bits +: Bits] = data_i[l*ContainerBits +: Bits];
    if (ContainerBits > Bits) begin : gen_rest
      logic [ContainerBits-Bits-1:0] rest;
      assign rest = data_i[l*ContainerBits+Bits +: ContainerBits-Bits];
      assign outside[l] = rest != {ContainerBits-Bits{Signed && data_i[l*ContainerBits+Bits-1]}};
    end else begin : gen_nothing
      assign outside[l] = 1'b0;
    end
  end

  // Lanes beyond a row's end hold what comes after it.
  if (LastLanes < Lanes) begin : gen_short
    assign outside_o = |outside[LastLanes-1:0] || (!last_i && |outside[Lanes-1:LastLanes]);
  end else begin : gen_whole
    logic unused_last;
    assign unused_last = last_i;
    assign outside_o = |outside;
  end

endmodule
