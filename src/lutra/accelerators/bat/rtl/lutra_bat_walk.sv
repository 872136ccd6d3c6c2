// Walks through the words of a matrix product: addresses of x and y, and what a dot product unit does with them.
//
// From the outermost to the innermost: heads, rows, groups of outputs, and for each group the words of x (chunks) and the
// bits of y. Counting units (Sums = 0) take all chunks for a bit of y, the sign first; multiplying ones all bits for a
// chunk, the sign last. Bit planes of y lie sign first in memory.
//
// Linear layers have one head, and y is the same for all rows. Scores: a head reads its own elements of the rows of x
// and its own words of y; several heads may share a word (place_o says which of them is meant). Contexts: each head has
// its own rows of x, one after the other, and its own words of y.
//
// Timing: start_i begins a walk in the next cycle; then one step per cycle with advance_i, without gaps. What the outputs
// show belongs to the step that is taken in the same cycle; they are registers, or follow from them.
module lutra_bat_walk #(
  parameter int unsigned Elements = 128,   // of a word of x
  parameter int unsigned Bits = 4,         // of y where it has more than one bit
  parameter int unsigned HeadWidth = 64,   // elements of a head, a divisor or multiple of Elements
  parameter int unsigned Sums = 0,         // form of the dot product units
  parameter int unsigned CountBits = 12,   // of counts
  parameter int unsigned AddressBits = 16, // of addresses and strides
  parameter int unsigned PlaceBits = 1     // of a head's place in a word
) (
  input  logic                   clk_i,             // clock
  input  logic                   rst_ni,            // synchronous reset, active low
  input  logic                   start_i,           // take the fields below and begin; not during a walk
  input  logic                   scores_i,          // x and y are queries and keys; constant during a walk, as all below
  input  logic                   binary_i,          // y has one bit
  input  logic [CountBits-1:0]   heads_i,           // how many, from 1
  input  logic [CountBits-1:0]   rows_i,            // of each head, from 1
  input  logic [CountBits-1:0]   groups_i,          // of outputs, from 1
  input  logic [CountBits-1:0]   chunks_i,          // words of a row of x that a product reads, from 1
  input  logic [AddressBits-1:0] x_base_i,          // first word of x
  input  logic [AddressBits-1:0] x_row_stride_i,    // words from row to row
  input  logic [AddressBits-1:0] y_base_i,          // first word of y
  input  logic [AddressBits-1:0] y_chunk_stride_i,  // words from chunk to chunk
  input  logic [AddressBits-1:0] y_bit_stride_i,    // words from bit to bit
  input  logic [AddressBits-1:0] y_group_stride_i,  // words from group to group
  input  logic [AddressBits-1:0] y_head_stride_i,   // words from head to head; for scores from one word of x to the next
  input  logic                   advance_i,         // take a step if there is one
  output logic                   step_o,            // there is a step
  output logic [AddressBits-1:0] x_address_o,       // its word of x
  output logic [AddressBits-1:0] y_address_o,       // its word of y
  output logic                   restart_o,         // see lutra_bat_dpu
  output logic                   shift_o,           // see lutra_bat_dpu
  output logic                   negate_o,          // see lutra_bat_dpu
  output logic                   take_o,            // last step of a group
  output logic                   final_o,           // last step of the walk
  output logic                   last_chunk_o,      // the last word of a row of x
  output logic [PlaceBits-1:0]   place_o            // the head's place in its word; 0 but for scores
);

  localparam logic [AddressBits-1:0] HeadWords = AddressBits'(HeadWidth > Elements ? HeadWidth / Elements : 1);
  localparam logic [PlaceBits-1:0]   LastPlace = PlaceBits'(HeadWidth < Elements ? Elements / HeadWidth - 1 : 0);
  localparam logic [CountBits-1:0]   One = CountBits'(1);
  localparam logic [CountBits-1:0]   YBits = CountBits'(Bits);
  localparam logic [AddressBits-1:0] Planes = AddressBits'(Bits - 1);
  localparam bit                     Counting = Sums == 0;

  logic                   running_q;
  logic [CountBits-1:0]   head_q, row_q, group_q, outer_q, inner_q;
  logic [CountBits-1:0]   outers, inners;
  logic [AddressBits-1:0] x_q, x_row_q, x_head_q, y_q, y_outer_q, y_group_q, y_head_q;
  logic [AddressBits-1:0] inner_stride, outer_stride, y_first;
  logic [PlaceBits-1:0]   place_q;
  logic                   inner_last, outer_last, group_last, row_last, head_last, next_word;

  if (Counting) begin : gen_counting
    assign outers       = binary_i ? One : YBits;
    assign inners       = chunks_i;
    assign inner_stride = y_chunk_stride_i;
    assign outer_stride = y_bit_stride_i;
    assign y_first      = '0;
    assign restart_o    = inner_q == '0 && outer_q == '0;
    assign shift_o      = inner_q == '0 && outer_q != '0;
    assign negate_o     = !binary_i && outer_q == '0;
    assign last_chunk_o = inner_last;
  end else begin : gen_multiplying
    assign outers       = chunks_i;
    assign inners       = binary_i ? One : YBits;
    assign inner_stride = '0 - y_bit_stride_i;
    assign outer_stride = y_chunk_stride_i;
    assign y_first      = binary_i ? '0 : y_bit_stride_i * Planes;
    assign restart_o    = outer_q == '0;
    assign shift_o      = inner_q != '0;
    assign negate_o     = !binary_i && inner_last;
    assign last_chunk_o = outer_last;
  end

  assign inner_last  = inner_q == inners - 1'b1;
  assign outer_last  = outer_q == outers - 1'b1;
  assign group_last  = group_q == groups_i - 1'b1;
  assign row_last    = row_q == rows_i - 1'b1;
  assign head_last   = head_q == heads_i - 1'b1;
  assign next_word   = !scores_i || place_q == LastPlace;
  assign step_o      = running_q;
  assign x_address_o = x_q;
  assign y_address_o = y_q;
  assign take_o      = inner_last && outer_last;
  assign final_o     = take_o && group_last && row_last && head_last;
  assign place_o     = place_q;

  // Where the next row and head begin.
  logic [AddressBits-1:0] x_row, x_head, y_head, y_group, y_outer;

  assign x_head  = x_head_q + (next_word ? HeadWords : '0);
  assign x_row   = row_last && scores_i ? x_head : x_row_q + x_row_stride_i;
  assign y_head  = y_head_q + (next_word ? y_head_stride_i : '0);
  assign y_group = !group_last ? y_group_q + y_group_stride_i : row_last ? y_head : y_head_q;
  assign y_outer = take_o ? y_group + y_first : y_outer_q + outer_stride;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      running_q <= 1'b0;
    end else if (start_i) begin
      running_q <= 1'b1;
    end else if (advance_i && final_o) begin
      running_q <= 1'b0;
    end
  end

  always_ff @(posedge clk_i) begin
    if (start_i) begin
      {head_q, row_q, group_q, outer_q, inner_q} <= '0;
      place_q   <= '0;
      x_q       <= x_base_i;
      x_row_q   <= x_base_i;
      x_head_q  <= x_base_i;
      y_q       <= y_base_i + y_first;
      y_outer_q <= y_base_i + y_first;
      y_group_q <= y_base_i;
      y_head_q  <= y_base_i;
    end else if (advance_i) begin
      inner_q <= inner_last ? '0 : inner_q + 1'b1;
      y_q     <= inner_last ? y_outer : y_q + inner_stride;
      if (inner_last) begin
        outer_q   <= outer_last ? '0 : outer_q + 1'b1;
        y_outer_q <= y_outer;
      end
      if (take_o) begin
        group_q   <= group_last ? '0 : group_q + 1'b1;
        y_group_q <= y_group;
        if (group_last) begin
          row_q   <= row_last ? '0 : row_q + 1'b1;
          x_row_q <= x_row;
          if (row_last) begin
            head_q   <= head_q + 1'b1;
            y_head_q <= y_head;
            if (scores_i) begin
              place_q  <= next_word ? '0 : place_q + 1'b1;
              x_head_q <= x_head;
            end
          end
        end
      end
      // x moves with the chunks and begins again with every bit (counting) or group.
      if (take_o) begin
        x_q <= group_last ? x_row : x_row_q;
      end else if (Counting) begin
        x_q <= inner_last ? x_row_q : x_q + 1'b1;
      end else if (inner_last) begin
        x_q <= x_q + 1'b1;
      end
    end
  end

endmodule
