// Rounds half up and clamps: y = clamp((x + rounding) >> shift_i), rounding = 2**(shift_i - 1), or 0 for shift 0.
//
// Shifting twice the number and then adding a one gives the same without a rounding term as wide as the number: that one
// lies in the last place of the output.
//
// Timing: combinational.
module lutra_round_shift #(
  parameter int unsigned Bits = 50,      // of the number, over OutBits
  parameter int unsigned ShiftBits = 6,  // of the shift; any shift is right, also one beyond the number
  parameter int unsigned OutBits = 16    // of the output, at least 2
) (
  input  logic [Bits-1:0]      x_i,      // number, two's complement
  input  logic [ShiftBits-1:0] shift_i,  // bits that are rounded away
  output logic [OutBits-1:0]   y_o       // rounded number, two's complement
);

  if (OutBits < 2 || Bits <= OutBits || ShiftBits < 1) begin : gen_wrong
    $error("OutBits must be at least 2, Bits over OutBits, ShiftBits at least 1");
  end

  localparam logic [OutBits-1:0] High = {1'b0, {OutBits-1{1'b1}}};

  logic signed [Bits:0] doubled, moved;
  logic [OutBits-1:0]   floor;
  logic                 outside;

  assign doubled = {x_i, 1'b0};
  assign moved   = doubled >>> shift_i;
  assign floor   = moved[OutBits:1];
  assign outside = moved[Bits:OutBits] != {Bits-OutBits+1{moved[Bits]}};

  always_comb begin
    y_o = floor + OutBits'(moved[0]);
    if (outside || (floor == High && moved[0])) begin
      y_o = moved[Bits] ? ~High : High;
    end
  end

endmodule
