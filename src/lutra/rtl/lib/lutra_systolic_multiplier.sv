// Signed 8 x 8 multiplier of radix-4 Booth rows, for six-input LUTs: a * b = product_o + carry_o.
//
// Each digit of b, from -2 to 2, makes a row of a. A row is added to the rows below it in one LUT per bit, which holds
// the row's bit (two bits of a, three of b) and the addition. A negative row is inverted, and the 1 that two's
// complement wants goes into the carry of its own adder; that of the lowest row is left to the adder behind.
//
// Timing: combinational.
module lutra_systolic_multiplier (
  input  logic [7:0]  a_i,        // multiplicand, two's complement
  input  logic [7:0]  b_i,        // multiplier, two's complement
  output logic [15:0] product_o,  // product without carry_o, two's complement
  output logic        carry_o     // to be added to the product
);

  localparam int unsigned Rows = 4;

  logic [8:0] digits;  // b with the 0 below its lowest bit
  assign digits = {b_i, 1'b0};

  for (genvar r = 0; r < Rows; r++) begin : gen_digit
    logic       one, two, negative;
    logic [8:0] row;
    logic [9:0] sum;  // this row and those below, from bit 2 r of the product
    assign one      = digits[2*r] ^ digits[2*r+1];
    assign two      = (digits[2*r] == digits[2*r+1]) && (digits[2*r] != digits[2*r+2]);
    assign negative = digits[2*r+2];
    assign row      = (({a_i[7], a_i} & {9{one}}) | ({a_i, 1'b0} & {9{two}})) ^ {9{negative}};
    if (r == 0) begin : gen_first
      assign sum = {row[8], row};
    end else begin : gen_next
      logic [9:0]  below;
      logic [10:0] full;  // bit 0 only makes the carry
      logic        unused_full;
      assign below = {{2{gen_digit[r-1].sum[9]}}, gen_digit[r-1].sum[9:2]};
      assign full  = {below, 1'b1} + {row[8], row, negative};
      assign sum   = full[10:1];
      assign unused_full = full[0];
    end
    if (r < Rows - 1) begin : gen_low
      assign product_o[2*r +: 2] = sum[1:0];
    end else begin : gen_high
      assign product_o[15:2*r] = sum;
    end
  end

  assign carry_o = gen_digit[0].negative;

endmodule
