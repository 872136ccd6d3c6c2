// First part of the softmax: passes a row on and finds its largest number.
//
// Timing: a beat per cycle; the largest number is there two cycles after the row's last beat was taken.
module lutra_bat_softmax_max #(
  parameter int unsigned Lanes = 4  // elements of a beat
) (
  input  logic                clk_i,      // clock
  input  logic                rst_ni,     // synchronous reset, active low
  input  logic                take_i,     // data_i is a beat
  input  logic                first_i,    // the row's first one
  input  logic                last_i,     // the row's last one
  input  logic [Lanes-1:0]    counted_i,  // elements that belong to the row
  input  logic [Lanes*16-1:0] data_i,     // binary16 numbers
  output logic                valid_o,    // the row is complete
  output logic [15:0]         max_o       // its largest number
);

  // Keys: binary16 numbers in an order that unsigned integers have; 0 is below all.
  logic [15:0] largest, largest_q, max_q;
  logic        take_q, first_q, last_q, valid_q;

  always_comb begin
    largest = '0;
    for (int unsigned l = 0; l < Lanes; l++) begin
      if (counted_i[l] && key_of(data_i[l*16 +: 16]) > largest) begin
        largest = key_of(data_i[l*16 +: 16]);
      end
    end
  end

  function automatic logic [15:0] key_of(input logic [15:0] number);
    key_of = number[15] ? ~number : number | 16'h8000;
  endfunction

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      take_q  <= 1'b0;
      valid_q <= 1'b0;
    end else begin
      take_q  <= take_i;
      valid_q <= take_q && last_q;
    end
    if (take_i) begin
      first_q   <= first_i;
      last_q    <= last_i;
      largest_q <= largest;
    end
    if (take_q) begin
      max_q <= first_q || largest_q > max_q ? largest_q : max_q;
    end
  end

  assign valid_o = valid_q;
  assign max_o   = max_q[15] ? max_q & 16'h7FFF : ~max_q;

endmodule
