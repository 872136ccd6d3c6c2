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

  if (Bits < 2 || Bits > 63) begin : gen_wrong
    $error("Bits must be 2 to 63");
  end

  localparam int unsigned Levels = Bits <= 16 ? 4 : (Bits <= 32 ? 5 : 6);
  localparam int unsigned Wide = 2 ** Levels;
  localparam logic [7:0] Top = 8'(Wide + 13);  // exponent of a leading one at the top, one less: it adds it again

  // Level by level the leading one moves to the top. Functions are evaluated only when the pipeline advances.
  function automatic logic [14:0] rounded(input logic [Bits-1:0] integer_value, input logic [4:0] exponent);
    logic [Wide-1:0] normal;
    logic [7:0]      below;
    logic            up;
    logic [17:0]     magnitude;

    normal = {{Wide-Bits{1'b0}}, integer_value[Bits-1] ? -integer_value : integer_value};
    below  = Top - {3'd0, exponent};
    for (integer level = Levels - 1; level >= 0; level = level - 1) begin
      if (normal >> (Wide - (1 << level)) == '0) begin
        normal = normal << (1 << level);
        below  = below - (8'd1 << level);
      end
    end
    up        = normal[Wide-12] && (normal[Wide-11] || |normal[Wide-13:0]);
    magnitude = {below, 10'd0} + {7'd0, normal[Wide-1 -: 11]} + {17'd0, up};
    rounded   = normal == '0 ? '0 : (magnitude >= 18'h7C00 ? 15'h7C00 : magnitude[14:0]);
  endfunction

  always_ff @(posedge clk_i) begin
    if (enable_i) begin
      y_o <= {a_i[Bits-1], rounded(a_i, exponent_i)};
    end
  end

endmodule
