// Product of two binary16 numbers, rounded once to the nearest, ties to even, subnormals included.
//
// Both numbers must be finite. A product beyond the range becomes the infinity of its sign, as in IEEE 754.
//
// Timing: a new pair in every cycle with enable_i; y_o shows its product after two such cycles.
module lutra_binary16_multiply (
  input  logic        clk_i,     // clock
  input  logic        enable_i,  // advance the pipeline
  input  logic [15:0] a_i,       // factor
  input  logic [15:0] b_i,       // factor
  output logic [15:0] y_o        // product
);

  // A number is significand * 2**(exponent - 25), the exponent of subnormals being 1.
  logic        sign_q;
  logic [5:0]  exponents_q;  // their sum, 2 to 60
  logic [21:0] product_q;

  function automatic logic [4:0] zeros_of(input logic [21:0] word);
    casez (word)
      22'b1?????????????????????: zeros_of = 5'd0;
      22'b01????????????????????: zeros_of = 5'd1;
      22'b001???????????????????: zeros_of = 5'd2;
      22'b0001??????????????????: zeros_of = 5'd3;
      22'b00001?????????????????: zeros_of = 5'd4;
      22'b000001????????????????: zeros_of = 5'd5;
      22'b0000001???????????????: zeros_of = 5'd6;
      22'b00000001??????????????: zeros_of = 5'd7;
      22'b000000001?????????????: zeros_of = 5'd8;
      22'b0000000001????????????: zeros_of = 5'd9;
      22'b00000000001???????????: zeros_of = 5'd10;
      22'b000000000001??????????: zeros_of = 5'd11;
      22'b0000000000001?????????: zeros_of = 5'd12;
      22'b00000000000001????????: zeros_of = 5'd13;
      22'b000000000000001???????: zeros_of = 5'd14;
      22'b0000000000000001??????: zeros_of = 5'd15;
      22'b00000000000000001?????: zeros_of = 5'd16;
      22'b000000000000000001????: zeros_of = 5'd17;
      22'b0000000000000000001???: zeros_of = 5'd18;
      22'b00000000000000000001??: zeros_of = 5'd19;
      22'b000000000000000000001?: zeros_of = 5'd20;
      default:                    zeros_of = 5'd21;
    endcase
  endfunction

  // The leading one moves to the top, or as far as the smallest exponent allows; room for 13 places to the right.
  // What is inside a function is evaluated only when the pipeline advances, which makes simulation several times faster.
  function automatic logic [14:0] rounded(input logic [5:0] exponents, input logic [21:0] product);
    logic [4:0]  zeros;
    logic [5:0]  places;    // 13 more than the places that the product moves to the left
    logic [6:0]  exponent;  // one less than that of the result: the leading one adds it again
    logic [34:0] moved;
    logic        up;
    logic [16:0] magnitude;

    zeros = zeros_of(product);
    if ({1'b0, exponents} > 7'd14 + {2'b0, zeros}) begin
      places   = {1'b0, zeros} + 6'd13;
      exponent = {1'b0, exponents} - 7'd15 - {2'b0, zeros};
    end else begin
      places   = exponents - 6'd2;
      exponent = '0;
    end
    moved     = {13'd0, product} << places;
    up        = moved[23] && (moved[24] || |moved[22:0]);
    magnitude = product == '0 ? '0 : {exponent, 10'd0} + {6'd0, moved[34:24]} + {16'd0, up};
    rounded   = magnitude >= 17'h7C00 ? 15'h7C00 : magnitude[14:0];
  endfunction

  always_ff @(posedge clk_i) begin
    if (enable_i) begin
      sign_q      <= a_i[15] ^ b_i[15];
      exponents_q <= {1'b0, a_i[14:11], a_i[10] | ~|a_i[14:10]} + {1'b0, b_i[14:11], b_i[10] | ~|b_i[14:10]};
      product_q   <= {11'd0, |a_i[14:10], a_i[9:0]} * {11'd0, |b_i[14:10], b_i[9:0]};
      y_o         <= {sign_q, rounded(exponents_q, product_q)};
    end
  end

endmodule
