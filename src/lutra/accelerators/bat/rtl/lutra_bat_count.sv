// Sum of the elements of a word of x that a word of bits selects, by counting ones: the first stage of a dot product.
//
// Of elements with several bits, ones are counted plane by plane and the counts added with the planes' weights; the
// plane of the sign counts negative. Elements of one bit come with a second bit that says whether they are -1 or 1: then
// ones are counted where x and the word of bits agree, which is (sum of x * y + number of elements) / 2 for y = +-1.
//
// Timing: counts are registered with enable_i; sum_o follows from them in the cycle after.
module lutra_bat_count #(
  parameter int unsigned Elements = 8,  // of a word of x
  parameter int unsigned Bits = 4,      // of an element of x; with 1 an element has a second bit above it: it is signed
  parameter int unsigned SumBits = 16   // of the sum, two's complement
) (
  input  logic                                       clk_i,     // clock
  input  logic                                       enable_i,  // take a word
  input  logic                                       signed_i,  // elements of several bits are signed; for sum_o
  input  logic [Elements*(Bits == 1 ? 2 : Bits)-1:0] x_i,       // bit b of element i at b*Elements + i
  input  logic [Elements-1:0]                        y_i,       // which of them
  output logic [SumBits-1:0]                         sum_o      // their sum
);

  localparam int unsigned CountBits = $clog2(Elements + 1);

  logic [Bits*CountBits-1:0] counts, counts_q;

  for (genvar b = 0; b < Bits; b++) begin : gen_plane
    logic [Elements-1:0] plane, ones;

    assign plane = x_i[b*Elements +: Elements];

    if (Bits == 1) begin : gen_one_bit
      assign ones = (plane ~^ y_i) & (x_i[Elements +: Elements] | plane);
    end else begin : gen_bits
      assign ones = plane & y_i;
    end

    lutra_bat_popcount #(.Inputs(Elements)) u_popcount (
      .bits_i(ones),
      .count_o(counts[b*CountBits +: CountBits])
    );
  end

  always_ff @(posedge clk_i) begin
    if (enable_i) begin
      counts_q <= counts;
    end
  end

  // Modulo 2**SumBits.
  localparam int unsigned WideBits = SumBits > CountBits + Bits ? SumBits : CountBits + Bits;

  logic [WideBits-1:0] sum;

  always_comb begin
    sum = '0;
    for (int b = 0; b < Bits; b++) begin
      if (b == Bits - 1 && Bits > 1 && signed_i) begin
        sum = sum - (WideBits'(counts_q[b*CountBits +: CountBits]) << b);
      end else begin
        sum = sum + (WideBits'(counts_q[b*CountBits +: CountBits]) << b);
      end
    end
  end

  assign sum_o = sum[SumBits-1:0];

endmodule
