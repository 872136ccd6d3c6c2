// A delay line: every word that comes in appears at one tap after the other.
//
// Timing: tap k shows the word that was taken k + 1 enabled cycles ago, or 0 after a reset. Taps before FirstTap have no
// port.
module lutra_delay #(
  parameter int unsigned Width = 1,    // bits of a word
  parameter int unsigned Taps = 1,     // words that are held
  parameter int unsigned FirstTap = 0  // first tap that is seen, below Taps
) (
  input  logic                             clk_i,     // clock
  input  logic                             rst_ni,    // synchronous reset, active low
  input  logic                             enable_i,  // every word moves on by one tap
  input  logic [Width-1:0]                 word_i,    // the word for tap 0
  output logic [(Taps-FirstTap)*Width-1:0] taps_o     // tap k at [(k-FirstTap)*Width +: Width]
);

  if (Width < 1 || FirstTap >= Taps) begin : gen_wrong
    $error("Width must be at least 1, FirstTap below Taps");
  end

  logic [Taps*Width-1:0] taps_q, taps_d;
  assign taps_o = taps_q[Taps*Width-1:FirstTap*Width];

  if (Taps > 1) begin : gen_move
    assign taps_d = {taps_q[(Taps-1)*Width-1:0], word_i};
  end else begin : gen_single
    assign taps_d = word_i;
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      taps_q <= '0;
    end else if (enable_i) begin
      taps_q <= taps_d;
    end
  end

endmodule
