// Sum of two binary16 numbers, rounded once to the nearest, ties to even, subnormals included.
//
// Both numbers must be finite. A sum beyond the range becomes the infinity of its sign; x + (-x) is +0, and -0 as one of
// the numbers leaves the other as it is.
//
// Timing: a new pair in every cycle with enable_i; y_o shows its sum after two such cycles.
module lutra_binary16_add (
  input  logic        clk_i,     // clock
  input  logic        enable_i,  // advance the pipeline
  input  logic [15:0] a_i,       // addend
  input  logic [15:0] b_i,       // addend
  output logic [15:0] y_o        // sum
);

  logic        sign_q;
  logic [4:0]  exponent_q;  // of the greater magnitude
  logic [14:0] sum_q;       // carry, 11 bits at the greater magnitude's place, three bits that decide the rounding

  // The lesser magnitude moves to the place of the greater one. Functions are evaluated only when the pipeline advances.
  function automatic logic [14:0] added(input logic subtract, input logic [14:0] greater, input logic [14:0] lesser);
    logic [4:0]  distance;
    logic [28:0] moved;
    logic [13:0] greater_bits, lesser_bits;

    distance     = {greater[14:11], greater[10] | ~|greater[14:10]} - {lesser[14:11], lesser[10] | ~|lesser[14:10]};
    moved        = {|lesser[14:10], lesser[9:0], 18'd0} >> (distance > 5'd15 ? 5'd15 : distance);
    greater_bits = {|greater[14:10], greater[9:0], 3'd0};
    lesser_bits  = {moved[28:16], |moved[15:0]};
    added        = subtract ? {1'b0, greater_bits} - {1'b0, lesser_bits} : {1'b0, greater_bits} + {1'b0, lesser_bits};
  endfunction

  function automatic logic [3:0] zeros_of(input logic [14:0] word);
    casez (word)
      15'b1??????????????: zeros_of = 4'd0;
      15'b01?????????????: zeros_of = 4'd1;
      15'b001????????????: zeros_of = 4'd2;
      15'b0001???????????: zeros_of = 4'd3;
      15'b00001??????????: zeros_of = 4'd4;
      15'b000001?????????: zeros_of = 4'd5;
      15'b0000001????????: zeros_of = 4'd6;
      15'b00000001???????: zeros_of = 4'd7;
      15'b000000001??????: zeros_of = 4'd8;
      15'b0000000001?????: zeros_of = 4'd9;
      15'b00000000001????: zeros_of = 4'd10;
      15'b000000000001???: zeros_of = 4'd11;
      15'b0000000000001??: zeros_of = 4'd12;
      15'b00000000000001?: zeros_of = 4'd13;
      default:             zeros_of = 4'd14;
    endcase
  endfunction

  // The leading one moves to the top, or as far as the smallest exponent allows.
  function automatic logic [14:0] rounded(input logic [4:0] exponent, input logic [14:0] sum);
    logic [3:0]  zeros;
    logic [4:0]  places, below;  // below: one less than the result's exponent, which the leading one adds again
    logic [14:0] normal;
    logic        up;
    logic [15:0] magnitude;

    zeros     = zeros_of(sum);
    places    = {1'b0, zeros} > exponent ? exponent : {1'b0, zeros};
    below     = exponent - places;
    normal    = sum << places;
    up        = normal[3] && (normal[4] || |normal[2:0]);
    magnitude = sum == '0 ? '0 : {1'b0, below, 10'd0} + {5'd0, normal[14:4]} + {15'd0, up};
    rounded   = magnitude >= 16'h7C00 ? 15'h7C00 : magnitude[14:0];
  endfunction

  logic        swap;
  logic [15:0] greater;
  logic [14:0] lesser;

  assign swap    = b_i[14:0] > a_i[14:0];
  assign greater = swap ? b_i : a_i;
  assign lesser  = swap ? a_i[14:0] : b_i[14:0];

  always_ff @(posedge clk_i) begin
    if (enable_i) begin
      exponent_q <= {greater[14:11], greater[10] | ~|greater[14:10]};
      sum_q      <= added(a_i[15] ^ b_i[15], greater[14:0], lesser);
      sign_q     <= (a_i[15] ^ b_i[15]) && a_i[14:0] == b_i[14:0] ? 1'b0 : greater[15];
      y_o        <= {sign_q, rounded(exponent_q, sum_q)};
    end
  end

endmodule
