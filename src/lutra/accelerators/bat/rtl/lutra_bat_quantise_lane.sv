// One lane of the quantisation unit in the threshold form: adds the bias and counts the thresholds up to the sum.
//
// Keys are binary16 numbers in an order that unsigned integers have: all bits of negative ones inverted, the highest bit
// of the others set. The thresholds rise, so that their count is found bit by bit.
//
// Timing: latency of three cycles with enable_i; thresholds_i and signed_i are wanted in stage 2.
module lutra_bat_quantise_lane #(
  parameter int unsigned Bits = 4  // of a code, up to 4
) (
  input  logic                        clk_i,         // clock
  input  logic                        enable_i,      // advance the pipeline
  input  logic [15:0]                 x_i,           // stage 0: binary16
  input  logic [15:0]                 bias_i,        // stage 0: binary16; -0 for none
  input  logic [(2**Bits-1)*16-1:0]   thresholds_i,  // stage 2: rising keys, the lowest one first
  input  logic                        signed_i,      // stage 2: codes are two's complement
  output logic [Bits-1:0]             code_o,        // how many thresholds are not above x + bias
  output logic                        overflow_o     // x + bias left the range
);

  localparam logic [Bits-1:0] Smallest = Bits > 1 ? 1 << (Bits - 1) : 0;  // the code of no threshold, if signed

  logic [15:0] sum;

  lutra_binary16_add u_add (.clk_i, .enable_i, .a_i(x_i), .b_i(bias_i), .y_o(sum));

  // A function is evaluated only when the pipeline advances.
  function automatic logic [Bits-1:0] count(
    input logic [15:0] number, input logic [(2**Bits-1)*16-1:0] thresholds
  );
    logic [15:0] key;

    key   = number[15] ? ~number : number | 16'h8000;
    count = '0;
    for (integer bit_place = Bits - 1; bit_place >= 0; bit_place = bit_place - 1) begin
      count[bit_place] = key >= thresholds[(32'(count) + (1 << bit_place) - 1)*16 +: 16];
    end
  endfunction

  always_ff @(posedge clk_i) begin
    if (enable_i) begin
      code_o     <= count(sum, thresholds_i) ^ (signed_i ? Smallest : '0);
      overflow_o <= &sum[14:10];
    end
  end

endmodule
