// Sum of three integers, as one row of lookup tables beside one carry chain adds them on an FPGA.
//
// Each place gives a sum and a carry of its three bits; the carry chain adds the carries, moved up by a place. With
// LUTRA_XILINX the tables of the carries are primitives: synthesis would draw them into those of the next place, which
// then have no room for a second output.
//
// Timing: combinational.
module lutra_ternary_add #(
  parameter int unsigned Bits = 8,      // of a term and of the sum, at least 2; what does not fit is lost
  parameter int unsigned CarryBits = 7  // places that have more than one bit, at least 1, below Bits
) (
  input  logic [Bits-1:0] x_i,   // a term; from CarryBits on only one of the three is not 0
  input  logic [Bits-1:0] y_i,   // a term
  input  logic [Bits-1:0] z_i,   // a term
  output logic [Bits-1:0] sum_o  // their sum
);

  if (CarryBits < 1 || CarryBits >= Bits) begin : gen_wrong
    $error("CarryBits must be at least 1 and below Bits");
  end

  logic [CarryBits-1:0] carries;

`ifdef LUTRA_XILINX
  for (genvar i = 0; i < CarryBits; i++) begin : gen_carry
    LUT3 #(.INIT(8'hE8)) u_carry (.I0(x_i[i]), .I1(y_i[i]), .I2(z_i[i]), .O(carries[i]));
  end
`else
  assign carries = (x_i[CarryBits-1:0] & y_i[CarryBits-1:0]) |
                   (z_i[CarryBits-1:0] & (x_i[CarryBits-1:0] | y_i[CarryBits-1:0]));
`endif

  assign sum_o = (x_i ^ y_i ^ z_i) + Bits'({carries, 1'b0});

endmodule
