// Engine for products of quantised matrices: Units dot product units that read a word of x together and one of y each.
//
// x lies in one memory, words of Elements codes, y in another, words of Elements bits for every unit: signs of weights,
// or bit planes of keys or values. Which words come in which order is said in lutra_bat_walk; a row of outputs leaves as
// groups of Units sums, in order. Elements of x beyond the row, and those of other heads, count as 0, whatever the memory
// holds there.
//
// Timing: start_i begins in the next cycle. A word of x and y per cycle, without gaps while sum_ready_i; the engine stands
// still while it offers sums that are not taken. Sums are offered in the fifth cycle after the last read of their group.
module lutra_bat_engine #(
  parameter int unsigned Units = 16,        // dot product units
  parameter int unsigned Elements = 128,    // products of a unit per cycle
  parameter int unsigned Bits = 4,          // of a code of x
  parameter int unsigned YBits = Bits,      // of a code of y where it has more than one bit, at most Bits
  parameter int unsigned SumBits = 16,      // of a sum, two's complement
  parameter int unsigned Sums = 0,          // how units add: 0 counts, 1 multiplies (lutra_bat_dpu)
  parameter int unsigned HeadWidth = 64,    // elements of a head, a divisor or multiple of Elements
  parameter int unsigned CountBits = 12,    // of counts
  parameter int unsigned AddressBits = 16,  // of addresses and strides
  parameter int unsigned LaneBits = 8       // of a number of elements up to Elements
) (
  input  logic                      clk_i,             // clock
  input  logic                      rst_ni,            // synchronous reset, active low
  input  logic                      start_i,           // begin; not before done_o of the product before
  input  logic                      scores_i,          // queries by keys; constant during a product, as all below
  input  logic                      signed_i,          // codes of x are signed
  input  logic                      binary_i,          // y has one bit, -1 or 1
  input  logic [CountBits-1:0]      heads_i,           // how many, from 1
  input  logic [CountBits-1:0]      rows_i,            // of each head, from 1
  input  logic [CountBits-1:0]      groups_i,          // of outputs, from 1; of linear layers over all halves
  input  logic [CountBits-1:0]      chunks_i,          // words of a row of x that a product reads, from 1
  input  logic [LaneBits-1:0]       last_elements_i,   // elements of the last of them, from 1
  input  logic [AddressBits-1:0]    x_base_i,          // first word of x
  input  logic [AddressBits-1:0]    x_row_stride_i,    // words from row to row
  input  logic [AddressBits-1:0]    y_base_i,          // first word of y
  input  logic [AddressBits-1:0]    y_chunk_stride_i,  // words from chunk to chunk
  input  logic [AddressBits-1:0]    y_bit_stride_i,    // words from bit to bit
  input  logic [AddressBits-1:0]    y_group_stride_i,  // words from group to group
  input  logic [AddressBits-1:0]    y_head_stride_i,   // words from head to head, see lutra_bat_walk
  output logic                      x_read_o,          // read a word of x; it comes in the next cycle and stays
  output logic [AddressBits-1:0]    x_address_o,       // which
  input  logic [Elements*Bits-1:0]  x_data_i,          // the word
  output logic                      y_read_o,          // read a word of y; it comes in the next cycle and stays
  output logic [AddressBits-1:0]    y_address_o,       // which
  input  logic [Units*Elements-1:0] y_data_i,          // the word, unit u at u*Elements
  output logic                      sum_valid_o,       // a group of sums is offered
  input  logic                      sum_ready_i,       // it is taken
  output logic [Units*SumBits-1:0]  sum_data_o,        // sum of unit u at u*SumBits
  output logic                      done_o             // the last group is being taken
);

  localparam int unsigned XBits = Bits == 1 ? 2 : Bits;
  localparam int unsigned Places = HeadWidth < Elements ? Elements / HeadWidth : 1;
  localparam int unsigned PlaceBits = Places > 1 ? $clog2(Places) : 1;

  logic                 advance, step, restart, shift, negate, take, last, last_chunk;
  logic [PlaceBits-1:0] place;

  assign advance = !sum_valid_o || sum_ready_i;

  lutra_bat_walk #(
    .Elements(Elements),
    .Bits(YBits),
    .HeadWidth(HeadWidth),
    .Sums(Sums),
    .CountBits(CountBits),
    .AddressBits(AddressBits),
    .PlaceBits(PlaceBits)
  ) u_walk (
    .clk_i(clk_i),
    .rst_ni(rst_ni),
    .start_i(start_i),
    .scores_i(scores_i),
    .binary_i(binary_i),
    .heads_i(heads_i),
    .rows_i(rows_i),
    .groups_i(groups_i),
    .chunks_i(chunks_i),
    .x_base_i(x_base_i),
    .x_row_stride_i(x_row_stride_i),
    .y_base_i(y_base_i),
    .y_chunk_stride_i(y_chunk_stride_i),
    .y_bit_stride_i(y_bit_stride_i),
    .y_group_stride_i(y_group_stride_i),
    .y_head_stride_i(y_head_stride_i),
    .advance_i(advance),
    .step_o(step),
    .x_address_o(x_address_o),
    .y_address_o(y_address_o),
    .restart_o(restart),
    .shift_o(shift),
    .negate_o(negate),
    .take_o(take),
    .final_o(last),
    .last_chunk_o(last_chunk),
    .place_o(place)
  );

  assign x_read_o = step && advance;
  assign y_read_o = step && advance;

  // Beside the memories, then beside the registers of the operands.
  logic                 last_chunk_q;
  logic [PlaceBits-1:0] place_q;
  logic [2:0]           controls_q, controls_qq;  // restart, shift, negate

  always_ff @(posedge clk_i) begin
    if (advance) begin
      last_chunk_q <= last_chunk;
      place_q      <= place;
      controls_q   <= {restart, shift, negate};
      controls_qq  <= controls_q;
    end
  end

  // Takes and the end of the product, down to the sums that are offered.
  logic [4:0] take_q, last_q;

  assign sum_valid_o = take_q[4];
  assign done_o      = last_q[4] && sum_ready_i;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      take_q <= '0;
      last_q <= '0;
    end else if (advance) begin
      take_q <= {take_q[3:0], step && take};
      last_q <= {last_q[3:0], step && last};
    end
  end

  // Operands. One bit of x becomes two: signed, and the bit. The units get x plane by plane: a bit of all elements.
  logic [Elements-1:0]       tail_q;
  logic [Elements*XBits-1:0] x, x_q, planes;
  logic [Units*Elements-1:0] y_q;

  for (genvar i = 0; i < Elements; i++) begin : gen_element
    localparam logic [LaneBits-1:0]  Lane = LaneBits'(i);
    localparam logic [PlaceBits-1:0] Place = PlaceBits'(Places > 1 ? i / HeadWidth : 0);
    logic present;

    always_ff @(posedge clk_i) begin
      tail_q[i] <= Lane < last_elements_i;
    end

    assign present = (!last_chunk_q || tail_q[i]) && (!scores_i || place_q == Place);

    if (Bits == 1) begin : gen_one_bit
      assign x[i*XBits +: XBits] = {present && signed_i, present && x_data_i[i]};
    end else begin : gen_bits
      assign x[i*XBits +: XBits] = present ? x_data_i[i*Bits +: Bits] : '0;
    end
  end

  always_ff @(posedge clk_i) begin
    if (advance) begin
      x_q <= x;
      y_q <= y_data_i;
    end
  end

  for (genvar i = 0; i < Elements; i++) begin : gen_planes
    for (genvar b = 0; b < XBits; b++) begin : gen_bit
      assign planes[b*Elements+i] = x_q[i*XBits+b];
    end
  end

  // The sum of a row of x, or how many elements of one bit it has: the same for all units, and in step with them.
  logic [SumBits-1:0] row_sum;

  if (Sums == 0) begin : gen_row_sum
    logic [Elements*XBits-1:0] elements;
    logic [SumBits-1:0]        all, row_sum_q;
    logic                      restart_q;

    if (Bits == 1) begin : gen_one_bit
      assign elements = {{Elements{1'b0}}, planes[0 +: Elements] | planes[Elements +: Elements]};
    end else begin : gen_bits
      assign elements = planes;
    end

    lutra_bat_count #(.Elements(Elements), .Bits(Bits), .SumBits(SumBits)) u_count (
      .clk_i(clk_i),
      .enable_i(advance),
      .signed_i(signed_i),
      .x_i(elements),
      .y_i({Elements{1'b1}}),
      .sum_o(all)
    );

    always_ff @(posedge clk_i) begin
      if (advance) begin
        restart_q <= controls_qq[2];
        row_sum_q <= all + (restart_q ? '0 : row_sum_q);
      end
    end

    assign row_sum = row_sum_q;
  end else begin : gen_no_row_sum
    assign row_sum = '0;
  end

  for (genvar u = 0; u < Units; u++) begin : gen_unit
    lutra_bat_dpu #(.Elements(Elements), .Bits(Bits), .YBits(YBits), .SumBits(SumBits), .Sums(Sums)) u_dpu (
      .clk_i(clk_i),
      .enable_i(advance),
      .signed_i(signed_i),
      .binary_i(binary_i),
      .x_i(planes),
      .y_i(y_q[u*Elements +: Elements]),
      .restart_i(controls_qq[2]),
      .shift_i(controls_qq[1]),
      .negate_i(controls_qq[0]),
      .take_i(take_q[1]),
      .row_sum_i(row_sum),
      .sum_o(sum_data_o[u*SumBits +: SumBits])
    );
  end

endmodule
