// Signed 8 x 8 multiplier of radix-4 Booth rows, for six-input LUTs: a * b = product_o + carry_o.
//
// A row is added to the rows below it in one LUT per bit, which holds the row's bit (two bits of a, three of b) and the
// addition. What a negative row lacks goes into the carry of its own adder; that of the lowest row is left to the adder
// behind.
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
    logic       negative;
    logic [8:0] row;
    logic [9:0] sum;  // this row and those below, from bit 2 r of the product
    lutra_booth_row u_row (.a_i, .digit_i(digits[2*r +: 3]), .row_o(row), .negative_o(negative));
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
