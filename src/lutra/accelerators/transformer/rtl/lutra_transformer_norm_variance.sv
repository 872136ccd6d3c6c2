// Second part of the layer norm: width * squares - total**2 + epsilon, the width's square times the row's variance.
//
// Both products grow together, from the highest bits of the width and of the total's magnitude down; what there is so
// far is doubled in every step, and the next bit of epsilon comes in below it. Between the steps it may be negative.
//
// Timing: start_i in cycle t, done_o in cycle t + 27, in which the next start may come. variance_o stays until then.
module lutra_transformer_norm_variance (
  input  logic        clk_i,      // clock
  input  logic        rst_ni,     // synchronous reset, active low
  input  logic        start_i,    // take the sums; not while a variance is under way
  input  logic [25:0] total_i,    // sum of the elements, two's complement
  input  logic [40:0] squares_i,  // sum of their squares, unsigned
  input  logic [10:0] width_i,    // elements of a row, up to 1024
  input  logic [49:0] epsilon_i,  // what keeps the variance from 0, unsigned
  output logic        done_o,     // variance_o is there, for one cycle
  output logic [51:0] variance_o  // unsigned
);

  localparam logic [4:0] FirstPlace = 5'd25;

  logic        busy_q, last;
  logic [4:0]  place_q;
  logic [25:0] magnitude_q;  // of the total, up to 2**25
  logic [40:0] squares_q;
  logic [52:0] sum_q;        // two's complement
  logic [31:0] width, magnitude, epsilon;
  logic [40:0] added;
  logic [25:0] subtracted;

  assign last       = busy_q && place_q == '0;
  assign variance_o = sum_q[51:0];
  assign width      = {21'd0, width_i};
  assign magnitude  = {6'd0, magnitude_q};
  assign epsilon    = {6'd0, epsilon_i[25:0]};
  assign added      = squares_q & {41{width[place_q]}};
  assign subtracted = magnitude_q & {26{magnitude[place_q]}};

  logic unused_sign;
  assign unused_sign = sum_q[52];

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      busy_q <= 1'b0;
      done_o <= 1'b0;
    end else begin
      busy_q <= start_i || (busy_q && !last);
      done_o <= last;
    end
    if (start_i) begin
      place_q     <= FirstPlace;
      magnitude_q <= total_i[25] ? -total_i : total_i;
      squares_q   <= squares_i;
      sum_q       <= {29'd0, epsilon_i[49:26]};
    end else if (busy_q) begin
      place_q <= place_q - 1'b1;
      sum_q   <= {sum_q[51:0], epsilon[place_q]} + {12'd0, added} - {27'd0, subtracted};
    end
  end

endmodule
