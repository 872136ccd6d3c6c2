// integer * 2**-exponent as a binary16 number, rounded to the nearest, ties to even.
//
// The result must be 0 or at least 2**-14 in magnitude; it is for every integer up to exponent 14. A result beyond the
// range becomes the infinity of its sign. 0 is +0.
//
// Timing: a new integer in every cycle with enable_i; y_o shows its number after one such cycle.
module lutra_binary16_from_integer #(
  parameter int unsigned Bits = 14  // of the integer, from 2 to 63
) (
  input  logic            clk_i,       // clock
  input  logic            enable_i,    // advance the pipeline
  input  logic [Bits-1:0] a_i,         // two's complement
  input  logic [4:0]      exponent_i,  // 0 to 24
  output logic [15:0]     y_o          // a_i * 2**-exponent_i
);

  localparam int unsigned Levels = Bits <= 16 ? 4 : (Bits <= 32 ? 5 : 6);
  localparam int unsigned Wide = 2 ** Levels;

  logic [Wide-1:0]   magnitude, normal;
  logic [Levels-1:0] zeros;
  logic              empty, up;
  logic [7:0]        exponent;
  logic [17:0]       result;

  assign magnitude = {{Wide-Bits{1'b0}}, a_i[Bits-1] ? -a_i : a_i};

  lutra_leading_zeros #(.Levels(Levels)) u_zeros (.word_i(magnitude), .empty_o(empty), .zeros_o(zeros));

  localparam logic [7:0] Top = 8'(Wide + 13);  // exponent of a leading one at the top, one less: it adds it again

  always_comb begin
    normal   = magnitude << zeros;
    up       = normal[Wide-12] && (normal[Wide-11] || |normal[Wide-13:0]);
    exponent = Top - {{8-Levels{1'b0}}, zeros} - {3'd0, exponent_i};
    result   = {exponent, 10'd0} + {7'd0, normal[Wide-1 -: 11]} + {17'd0, up};
  end

  always_ff @(posedge clk_i) begin
    if (enable_i) begin
      y_o[15]   <= a_i[Bits-1];
      y_o[14:0] <= empty ? 15'd0 : (result >= 18'h7C00 ? 15'h7C00 : result[14:0]);
    end
  end

endmodule
