// integer / divisor in units of 2**-24 as a binary16 number, rounded once to the nearest, ties to even.
//
// Both numbers are moved until their leading ones stand at the top; 13 steps of long division give 11 or 12 significant
// bits and one more, and what is left says whether the quotient is exact. A quotient beyond the range becomes the
// infinity of its sign. 0 is +0.
//
// Timing: a new dividend in every cycle with enable_i; y_o shows its quotient after 16 such cycles. divisor_i stays the
// same while dividends are under way.
module lutra_binary16_divide #(
  parameter int unsigned Bits = 53  // of the dividend, from 26 to 64
) (
  input  logic            clk_i,       // clock
  input  logic            enable_i,    // advance the pipeline
  input  logic [Bits-1:0] dividend_i,  // two's complement, units of 2**-24
  input  logic [11:0]     divisor_i,   // 1 to 2048
  output logic [15:0]     y_o          // dividend_i / divisor_i * 2**-24
);

  if (Bits < 26 || Bits > 64) begin : gen_wrong
    $error("Bits must be 26 to 64");
  end

  localparam int unsigned Levels = Bits <= 32 ? 5 : 6;
  localparam int unsigned Wide = 2 ** Levels;
  localparam int unsigned Steps = 13;

  // The divisor's leading one at the top.
  logic [3:0]  divisor_zeros;
  logic [11:0] divisor;
  logic        divisor_empty;

  lutra_leading_zeros #(.Levels(4)) u_divisor_zeros (
    .word_i({divisor_i, 4'd0}), .empty_o(divisor_empty), .zeros_o(divisor_zeros)
  );
  assign divisor = divisor_empty ? 12'h800 : divisor_i << divisor_zeros;

  // Stage 1: magnitude and its zeros. Stage 2: the leading one to the top; 24 bits take part, the rest is or-ed.
  logic [Wide-1:0]   magnitude, magnitude_q, normal;
  logic [Levels-1:0] zeros, zeros_q;
  logic              empty, empty_q, sign_q;

  assign magnitude = {{Wide-Bits{1'b0}}, dividend_i[Bits-1] ? -dividend_i : dividend_i};
  assign normal    = magnitude_q << zeros_q;

  lutra_leading_zeros #(.Levels(Levels)) u_zeros (.word_i(magnitude), .empty_o(empty), .zeros_o(zeros));

  always_ff @(posedge clk_i) begin
    if (enable_i) begin
      magnitude_q <= magnitude;
      zeros_q     <= zeros;
      empty_q     <= empty;
      sign_q      <= dividend_i[Bits-1];
    end
  end

  // Step s finds bit 12 - s of the quotient. The remainder of step s and the bits that follow it are one word.
  localparam logic [7:0] Top = 8'(Wide + 3);  // 24 + exponent of a quotient whose numbers both begin at the top

  logic [11:0]       remainder_q [0:Steps];  // below the divisor, but for the first one
  logic [11:0]       follow_q    [0:Steps];  // bits of the dividend that are still to come, the next one at the top
  logic [Steps-1:0]  quotient_q  [0:Steps];
  logic [Steps:0]    rest_q, negative_q, zero_q;
  logic [7:0]        exponent_q  [0:Steps];  // 24 + exponent if the quotient's first bit is 1

  always_ff @(posedge clk_i) begin
    if (enable_i) begin
      remainder_q[0] <= normal[Wide-1 -: 12];
      follow_q[0]    <= normal[Wide-13 -: 12];
      quotient_q[0]  <= '0;
      rest_q[0]      <= |normal[Wide-25:0];
      negative_q[0]  <= sign_q;
      zero_q[0]      <= empty_q;
      exponent_q[0]  <= Top - {{8-Levels{1'b0}}, zeros_q} + {4'd0, divisor_zeros};
    end
  end

  for (genvar s = 0; s < Steps; s++) begin : gen_step
    logic [12:0] partial;
    logic [11:0] difference;  // if it is not below 0

    if (s == 0) begin : gen_first
      assign partial = {1'b0, remainder_q[0]};
    end else begin : gen_next
      assign partial = {remainder_q[s], follow_q[s][11]};
    end
    assign difference = partial[11:0] - divisor;

    always_ff @(posedge clk_i) begin
      if (enable_i) begin
        remainder_q[s+1] <= partial >= {1'b0, divisor} ? difference : partial[11:0];
        follow_q[s+1]    <= s == 0 ? follow_q[s] : {follow_q[s][10:0], 1'b0};
        quotient_q[s+1]  <= {quotient_q[s][Steps-2:0], partial >= {1'b0, divisor}};
        rest_q[s+1]      <= rest_q[s];
        negative_q[s+1]  <= negative_q[s];
        zero_q[s+1]      <= zero_q[s];
        exponent_q[s+1]  <= exponent_q[s];
      end
    end
  end

  // Rounding. Below the smallest exponent the bits move to the right, up to 13 places.
  logic [12:0] bits;
  logic [7:0]  exponent, below;
  logic [25:0] moved;
  logic        rest, up;
  logic [17:0] result;

  always_comb begin
    bits     = quotient_q[Steps][12] ? quotient_q[Steps] : quotient_q[Steps] << 1;
    exponent = exponent_q[Steps] - {7'd0, !quotient_q[Steps][12]};  // 24 + exponent
    below    = exponent < 8'd25 ? 8'd25 - exponent : 8'd0;
    moved    = {bits, 13'd0} >> (below > 8'd13 ? 4'd13 : below[3:0]);
    rest     = rest_q[Steps] || |remainder_q[Steps] || |moved[13:0];
    up       = moved[14] && (moved[15] || rest);
    result   = {exponent < 8'd25 ? 8'd0 : exponent - 8'd25, 10'd0} + {7'd0, moved[25:15]} + {17'd0, up};
  end

  always_ff @(posedge clk_i) begin
    if (enable_i) begin
      y_o[15]   <= negative_q[Steps];
      y_o[14:0] <= zero_q[Steps] ? 15'd0 : (result >= 18'h7C00 ? 15'h7C00 : result[14:0]);
    end
  end

endmodule
