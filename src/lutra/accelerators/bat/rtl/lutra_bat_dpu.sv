// Dot product unit: sum of x * y over as many words as come, Elements products per cycle.
//
// y comes bit by bit, a word of Elements bits per cycle: one bit that stands for -1 or 1 (binary_i), or the bits of a
// signed number, of which the sign counts negative. Two forms give the same sums:
// - Sums = 0 counts: ones among the bits of x that y selects (lutra_bat_count). Bits of y come sign first, all words of
//   x for one bit; the sum doubles before the next bit (shift_i). For y = +-1 the sum is twice that of the selected
//   elements less that of all, row_sum_i, which is the same for all units.
// - Sums = 1 multiplies: the paper's processing elements (lutra_bat_pe) behind a tree of compressors that ends in its
//   own registers, sum and carry. Bits of y come least significant first, all bits for one word of x.
//
// Timing: one word per cycle with enable_i; all registers stop without it. A sum is on sum_o in the third cycle after
// that with take_i, until the next one. row_sum_i is read one cycle before.
module lutra_bat_dpu #(
  parameter int unsigned Elements = 128,  // products per cycle
  parameter int unsigned Bits = 4,        // of an element of x; with 1 an element has a second bit: it is signed
  parameter int unsigned YBits = Bits,    // of y where it has more than one bit, at most Bits
  parameter int unsigned SumBits = 16,    // of a sum, two's complement
  parameter int unsigned Sums = 0         // 0 counts, 1 multiplies
) (
  input  logic                                       clk_i,      // clock
  input  logic                                       enable_i,   // take a word, and pass on what came before
  input  logic                                       signed_i,   // elements of several bits are signed; constant
  input  logic                                       binary_i,   // y has one bit, -1 or 1; constant
  input  logic [Elements*(Bits == 1 ? 2 : Bits)-1:0] x_i,        // bit b of element i at b*Elements + i
  input  logic [Elements-1:0]                        y_i,        // a bit of y for each
  input  logic                                       restart_i,  // counting: first word; multiplying: of the first word
  input  logic                                       shift_i,    // not the first bit of y (counting: its first word)
  input  logic                                       negate_i,   // the bit is the sign of y
  input  logic                                       take_i,     // last word and bit of the sum
  input  logic [SumBits-1:0]                         row_sum_i,  // counting: sum of all elements of x
  output logic [SumBits-1:0]                         sum_o       // the sum
);

  if (YBits < 1 || YBits > Bits) begin : gen_wrong
    $error("YBits must be from 1 to Bits");
  end

  logic restart_q, take_q, take_qq;

  always_ff @(posedge clk_i) begin
    if (enable_i) begin
      restart_q <= restart_i;
      take_q    <= take_i;
      take_qq   <= take_q;
    end
  end

  if (Sums == 0) begin : gen_count
    logic               shift_q, negate_q;
    logic [SumBits-1:0] selected, base, sum_q;

    lutra_bat_count #(.Elements(Elements), .Bits(Bits), .SumBits(SumBits)) u_count (
      .clk_i(clk_i),
      .enable_i(enable_i),
      .signed_i(signed_i),
      .x_i(x_i),
      .y_i(y_i),
      .sum_o(selected)
    );

    assign base = restart_q ? '0 : shift_q ? sum_q << 1 : sum_q;

    always_ff @(posedge clk_i) begin
      if (enable_i) begin
        shift_q  <= shift_i;
        negate_q <= negate_i;
        sum_q    <= negate_q ? base - selected : base + selected;
        if (take_qq) begin
          sum_o <= binary_i ? (sum_q << 1) - row_sum_i : sum_q;
        end
      end
    end
  end else begin : gen_multiply
    // Products carry an offset of 2**(2 * Bits) each, which is taken back with every word. They and their sum are
    // shifted up by Bits places less the number of bits of y.
    localparam int unsigned XBits = Bits == 1 ? 2 : Bits;
    localparam int unsigned WideBits = SumBits + Bits > 2 * Bits + 1 ? SumBits + Bits : 2 * Bits + 1;
    localparam logic [WideBits-1:0] Offset = WideBits'(64'd0 - (64'(Elements) << 2 * Bits));

    logic [Elements*WideBits-1:0] products;
    logic [WideBits-1:0]          sum, carry, sum_q, carry_q, total;
    logic                         add_q, unused_row_sum;

    assign unused_row_sum = ^row_sum_i;

    for (genvar i = 0; i < Elements; i++) begin : gen_element
      logic [2*Bits:0]  product;
      logic [XBits-1:0] element;
      logic [1:0]       digit;
      logic             is_signed;

      for (genvar b = 0; b < XBits; b++) begin : gen_bit
        assign element[b] = x_i[b*Elements+i];
      end

      // The bit decoder: -1 or 1, or a bit that counts positive or negative.
      assign digit     = binary_i ? {!y_i[i], 1'b1} : {negate_i && y_i[i], y_i[i]};
      assign is_signed = Bits == 1 ? element[XBits-1] : signed_i;

      lutra_bat_pe #(.Bits(Bits)) u_pe (
        .clk_i(clk_i),
        .enable_i(enable_i),
        .signed_i(is_signed),
        .first_i(!shift_i),
        .x_i(element[Bits-1:0]),
        .y_i(digit),
        .p_o(product)
      );
      assign products[i*WideBits +: WideBits] = WideBits'(product);
    end

    lutra_bat_compressor #(.Numbers(Elements + 3), .Bits(WideBits)) u_tree (
      .numbers_i({products, Offset, restart_q ? {2 * WideBits{1'b0}} : {carry_q, sum_q}}),
      .sum_o(sum),
      .carry_o(carry)
    );

    assign total = sum_q + carry_q;

    always_ff @(posedge clk_i) begin
      if (enable_i) begin
        add_q <= binary_i || negate_i;
        if (add_q) begin
          sum_q   <= sum;
          carry_q <= carry;
        end
        if (take_qq) begin
          sum_o <= binary_i ? total[Bits-1 +: SumBits] : total[Bits-YBits +: SumBits];
        end
      end
    end
  end

endmodule
