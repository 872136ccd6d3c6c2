// Signed product of two integers by radix-4 Booth rows, for the lookup tables of an FPGA.
//
// A row is x times a digit of y from -2 to 2, and is added to the rows below it in one table per bit, which holds the row's
// bit (two bits of x, three of y) and the addition. With LUTRA_FAST_SIMULATION the product is written as one.
//
// Timing: combinational.
module lutra_multiply #(
  parameter int unsigned XBits = 16,  // of a factor, at least 2
  parameter int unsigned YBits = 16   // of the other, at least 2; half as many rows
) (
  input  logic [XBits-1:0]       x_i,       // two's complement
  input  logic [YBits-1:0]       y_i,       // two's complement
  output logic [XBits+YBits-1:0] product_o  // two's complement
);

  if (XBits < 2 || YBits < 2) begin : gen_wrong
    $error("XBits and YBits must be at least 2");
  end

`ifdef LUTRA_FAST_SIMULATION
  logic signed [XBits-1:0] x;
  logic signed [YBits-1:0] y;
  assign x         = x_i;
  assign y         = y_i;
  assign product_o = (XBits+YBits)'(x * y);
`else
  localparam int unsigned Rows = (YBits + 1) / 2;

  logic [2*Rows:0]         digits;   // y with the 0 below its lowest bit
  logic [XBits+2*Rows-1:0] product;

  assign digits    = (2*Rows+1)'($signed({y_i, 1'b0}));
  assign product_o = product[XBits+YBits-1:0];

  if (2 * Rows > YBits) begin : gen_odd
    logic unused_sign;
    assign unused_sign = product[XBits+2*Rows-1];
  end

  for (genvar r = 0; r < Rows; r++) begin : gen_row
    logic             one, two, negative, unused_full;
    logic [XBits:0]   row;
    logic [XBits+1:0] below, sum;  // rows from bit 2 r of the product on: those below, and this one among them
    logic [XBits+2:0] full;        // bit 0 only makes the carry of a negative row

    assign one      = digits[2*r] ^ digits[2*r+1];
    assign two      = digits[2*r] == digits[2*r+1] && digits[2*r] != digits[2*r+2];
    assign negative = digits[2*r+2];
    assign row      = (({x_i[XBits-1], x_i} & {XBits+1{one}}) | ({x_i, 1'b0} & {XBits+1{two}})) ^ {XBits+1{negative}};

    if (r == 0) begin : gen_first
      assign below = '0;
    end else begin : gen_next
      assign below = {{2{gen_row[r-1].sum[XBits+1]}}, gen_row[r-1].sum[XBits+1:2]};
    end

    assign full        = {below, 1'b1} + {row[XBits], row, negative};
    assign sum         = full[XBits+2:1];
    assign unused_full = full[0];

    if (r < Rows - 1) begin : gen_low
      assign product[2*r +: 2] = sum[1:0];
    end else begin : gen_high
      assign product[XBits+2*Rows-1:2*r] = sum;
    end
  end
`endif

endmodule
