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

  // The smaller magnitude moves to the place of the larger one; three bits below hold what rounding needs.
  logic        swap, subtract;
  logic [15:0] greater, lesser;
  logic [4:0]  greater_exponent, lesser_exponent, distance;
  logic [28:0] moved;
  logic [13:0] greater_bits, lesser_bits;

  always_comb begin
    swap           = b_i[14:0] > a_i[14:0];
    greater          = swap ? b_i : a_i;
    lesser          = swap ? a_i : b_i;
    subtract       = a_i[15] ^ b_i[15];
    greater_exponent = {greater[14:11], greater[10] | ~|greater[14:10]};
    lesser_exponent = {lesser[14:11], lesser[10] | ~|lesser[14:10]};
    distance       = greater_exponent - lesser_exponent;
    moved          = {|lesser[14:10], lesser[9:0], 18'd0} >> (distance > 5'd15 ? 5'd15 : distance);
    greater_bits     = {|greater[14:10], greater[9:0], 3'd0};
    lesser_bits     = {moved[28:16], |moved[15:0]};
  end

  logic        sign_q;
  logic [4:0]  exponent_q;
  logic [14:0] sum_q;

  always_ff @(posedge clk_i) begin
    if (enable_i) begin
      exponent_q <= greater_exponent;
      if (subtract) begin
        sum_q <= {1'b0, greater_bits} - {1'b0, lesser_bits};
      end else begin
        sum_q <= {1'b0, greater_bits} + {1'b0, lesser_bits};
      end
      sign_q <= subtract && a_i[14:0] == b_i[14:0] ? 1'b0 : greater[15];
    end
  end

  // The leading one moves to the top, or as far as the smallest exponent allows.
  logic [3:0]  zeros;
  logic [4:0]  places, exponent;
  logic [14:0] normal;
  logic        up;
  logic [15:0] magnitude;

  always_comb begin
    casez (sum_q)
      15'b1??????????????: zeros = 4'd0;
      15'b01?????????????: zeros = 4'd1;
      15'b001????????????: zeros = 4'd2;
      15'b0001???????????: zeros = 4'd3;
      15'b00001??????????: zeros = 4'd4;
      15'b000001?????????: zeros = 4'd5;
      15'b0000001????????: zeros = 4'd6;
      15'b00000001???????: zeros = 4'd7;
      15'b000000001??????: zeros = 4'd8;
      15'b0000000001?????: zeros = 4'd9;
      15'b00000000001????: zeros = 4'd10;
      15'b000000000001???: zeros = 4'd11;
      15'b0000000000001??: zeros = 4'd12;
      15'b00000000000001?: zeros = 4'd13;
      default:             zeros = 4'd14;
    endcase
    places    = {1'b0, zeros} > exponent_q ? exponent_q : {1'b0, zeros};
    exponent  = exponent_q - places;  // one less: the leading one adds it again
    normal    = sum_q << places;
    up        = normal[3] && (normal[4] || |normal[2:0]);
    magnitude = sum_q == '0 ? '0 : {1'b0, exponent, 10'd0} + {5'd0, normal[14:4]} + {15'd0, up};
  end

  always_ff @(posedge clk_i) begin
    if (enable_i) begin
      y_o <= {sign_q, magnitude >= 16'h7C00 ? 15'h7C00 : magnitude[14:0]};
    end
  end

endmodule
