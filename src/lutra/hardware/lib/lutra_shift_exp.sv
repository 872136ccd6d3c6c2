// I-ViT's ShiftExp of -difference, as mantissa * 2**exponent and as an integer.
//
// p = -d - d/2 + d/16 (each rounded down), at least -Shift * Unit; with q = floor(-p / Unit) and r = p + Unit * q the
// value is (r + 2 * Unit) * 2**(Shift - q) / 2. Eight bits of difference leave 256 words of mantissa and exponent, which
// a ROM holds, so that no division by Unit is built.
//
// Timing: two enabled cycles after difference_i.
module lutra_shift_exp #(
  parameter int unsigned Unit = 16,           // the integer that stands for about 1
  parameter int unsigned Shift = 23,          // bits below the binary point, 1 to 23
  parameter int unsigned MantissaBits = 6,    // bits of 2 * Unit
  parameter int unsigned ValueBits = 28       // bits of Unit * 2**Shift
) (
  input  logic                    clk_i,         // clock
  input  logic                    enable_i,      // go on
  input  logic [7:0]              difference_i,  // how far below 0 the exponent is, unsigned
  output logic [MantissaBits-1:0] mantissa_o,    // value_o = mantissa_o * 2**exponent_o
  output logic [4:0]              exponent_o,    // 0 to Shift - 1
  output logic [ValueBits-1:0]    value_o        // the exponential
);

  if (Unit < 1 || Shift < 1 || Shift > 23 || MantissaBits != $clog2(2*Unit + 1) ||
      ValueBits != $clog2(Unit + 1) + Shift) begin : gen_wrong
    $error("Unit must be from 1, Shift 1 to 23, MantissaBits and ValueBits of 2 * Unit and Unit * 2**Shift");
  end

  localparam int unsigned WordBits = MantissaBits + 5;

  // Bit b of the word for difference d is at b * 256 + d, as lutra_rom wants it.
  function automatic logic [256*WordBits-1:0] words(input integer unit, input integer shift);
    integer power, halvings, mantissa, exponent;
    words = '0;
    for (integer d = 0; d < 256; d = d + 1) begin
      power = d + (d + 1) / 2 - (d + 15) / 16;  // -p; rounding -d/2 down rounds d/2 up
      if (power > shift * unit) begin
        power = shift * unit;
      end
      halvings = power / unit;
      mantissa = halvings == shift ? unit : unit * (halvings + 2) - power;
      exponent = halvings == shift ? 0 : shift - halvings - 1;
      for (integer b = 0; b < MantissaBits; b = b + 1) begin
        words[b*256 + d] = mantissa[b];
      end
      for (integer b = 0; b < 5; b = b + 1) begin
        words[(MantissaBits+b)*256 + d] = exponent[b];
      end
    end
  endfunction

  logic [WordBits-1:0]     word, word_q;
  logic [MantissaBits-1:0] mantissa;
  logic [4:0]              exponent;

  lutra_rom #(.AddressBits(8), .Width(WordBits), .Tables(words(Unit, Shift))) u_rom (
    .address_i(difference_i), .word_o(word)
  );
  assign {exponent, mantissa} = word_q;

  always_ff @(posedge clk_i) begin
    if (enable_i) begin
      word_q     <= word;
      mantissa_o <= mantissa;
      exponent_o <= exponent;
      value_o    <= ValueBits'(mantissa) << exponent;
    end
  end

endmodule
