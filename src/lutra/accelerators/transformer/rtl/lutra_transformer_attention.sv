// Walks the heads and row tiles of an attention: scores, softmax, context.
//
// Without Overlap one follows the other, and what a product and the softmax need for the present head and tile stands at
// the outputs until its end. With Overlap the array computes, while a tile's softmax runs, the context of the tile before
// and the scores of the tile behind it: products start in the order scores 0, scores 1, context 0, scores 2, context 1
// and so on, each as soon as product_ready_i allows. The outputs then belong to the product that starts alone, and the
// softmax keeps two tiles.
//
// Timing: start_i in t, the first product starts in t + 1, every other one in a cycle with product_ready_i. Between the
// end of a tile's scores and its softmax, and between that and the start of its context, lie at least 2 cycles; a softmax
// that waits for the one before starts in the cycle behind its end. done_o is 1 with the end of the last product.
module lutra_transformer_attention #(
  parameter int unsigned Size = 4,          // rows of the array, a power of two from 2
  parameter int unsigned Lanes = 4,         // values per word, a power of two up to Size
  parameter int unsigned Rows = 8,          // rows of the longest sequence, a multiple of Size
  parameter int unsigned AddressBits = 24,  // bits of an address
  parameter int unsigned CountBits = 16,    // bits of a count
  parameter bit          Overlap = 0        // scores of a tile are computed before the context of the tile before
) (
  input  logic                   clk_i,           // clock
  input  logic                   rst_ni,          // synchronous reset, active low
  input  logic                   start_i,         // begin
  input  logic                   causal_i,        // a row sees the keys up to its own
  input  logic [CountBits-1:0]   heads_i,         // heads, from 1
  input  logic [CountBits-1:0]   head_tiles_i,    // column tiles of a head, from 1
  input  logic [CountBits-1:0]   head_width_i,    // columns of a head, from 1
  input  logic [CountBits-1:0]   rows_i,          // queries, from 1
  input  logic [CountBits-1:0]   past_i,          // keys before the first query's, where causal
  input  logic [CountBits-1:0]   keys_i,          // all keys
  input  logic [AddressBits-1:0] queries_i,       // where queries begin
  input  logic [AddressBits-1:0] keys_base_i,     // where keys begin
  input  logic [AddressBits-1:0] values_base_i,   // where values begin
  input  logic [AddressBits-1:0] context_i,       // where results begin
  output logic                   busy_o,          // a head or a tile is under way
  output logic                   done_o,          // the last result is written
  output logic                   scores_o,        // the product is that of scores, not of the context
  output logic                   product_start_o,  // start a product
  input  logic                   product_ready_i,  // it can be
  input  logic                   product_done_i,  // a product is over: the oldest one
  input  logic                   product_scores_i,  // that one is of scores
  output logic                   softmax_clear_o,  // a tile more: its scores follow
  output logic                   softmax_start_o,  // give exponentials
  input  logic                   softmax_done_i,  // they are stored
  output logic [CountBits-1:0]   tile_rows_o,     // queries of this tile
  output logic [CountBits-1:0]   first_limit_o,   // keys that its first query sees
  output logic [CountBits-1:0]   tile_keys_o,     // keys that its last one sees
  output logic [CountBits-1:0]   inner_o,         // of the product: terms of a sum,
  output logic [CountBits-1:0]   column_tiles_o,  // tiles,
  output logic [AddressBits-1:0] left_o,          // left operands,
  output logic [AddressBits-1:0] right_o,         // right operands,
  output logic [AddressBits-1:0] destination_o    // and results
);

  localparam int unsigned RowBits = $clog2(Size);
  localparam logic [AddressBits-1:0] Chunks = AddressBits'(Rows / Lanes);  // words of a tile's exponentials in a bank

  // What can start: scores of Overlap tiles more than contexts, then a context whose exponentials are there.
  logic       busy_q, scores_left_q, contexts_left_q, scoring_q, done_1_q;
  logic       scores_next, scores_start, context_start;
  logic       scores_last, context_last;
  logic [1:0] ahead_q;    // tiles whose scores have started and whose context has not
  logic [1:0] given_q;    // those of them whose exponentials are there
  logic [1:0] running_q;  // products

  assign scores_next   = scores_left_q && ahead_q <= 2'(Overlap);
  assign scores_start  = busy_q && product_ready_i && scores_next;
  assign context_start = busy_q && product_ready_i && !scores_next && contexts_left_q && given_q != '0;

  assign busy_o          = busy_q;
  assign product_start_o = scores_start || context_start;
  assign softmax_clear_o = scores_start;
  assign scores_o        = scores_start || (!context_start && scoring_q);
  assign done_o          = product_done_i && !scores_left_q && !contexts_left_q && running_q == 2'd1;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      busy_q          <= 1'b0;
      scores_left_q   <= 1'b0;
      contexts_left_q <= 1'b0;
      ahead_q         <= '0;
      given_q         <= '0;
      running_q       <= '0;
      done_1_q        <= 1'b0;
    end else begin
      busy_q          <= start_i || (busy_q && !done_o);
      scores_left_q   <= start_i || (scores_left_q && !(scores_start && scores_last));
      contexts_left_q <= start_i || (contexts_left_q && !(context_start && context_last));
      ahead_q         <= ahead_q + 2'(scores_start) - 2'(context_start);
      given_q         <= given_q + 2'(done_1_q) - 2'(context_start);
      running_q       <= running_q + 2'(product_start_o) - 2'(busy_q && product_done_i);
      done_1_q        <= softmax_done_i;
    end
    if (product_start_o) begin
      scoring_q <= scores_start;
    end
  end

  // The softmax follows the scores.
  logic scored_q, waiting_q, exponentials_q;

  assign softmax_start_o = waiting_q && !exponentials_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      scored_q       <= 1'b0;
      waiting_q      <= 1'b0;
      exponentials_q <= 1'b0;
    end else begin
      scored_q       <= busy_q && product_done_i && product_scores_i;
      waiting_q      <= scored_q || (waiting_q && !softmax_start_o);
      exponentials_q <= softmax_start_o || (exponentials_q && !softmax_done_i);
    end
  end

  // Where scores and contexts are.
  logic [CountBits-1:0]   context_rows, context_limit, context_keys, scores_rows, scores_limit, scores_keys;
  logic [AddressBits-1:0] context_offset, value_offset, scores_offset, key_offset, exponentials;

  if (Overlap) begin : gen_two
    logic                   bank_q;  // of the exponentials of the next context
    logic [AddressBits-1:0] unused_head_offset, unused_value_offset;

    lutra_transformer_tile #(
      .Size(Size), .Lanes(Lanes), .Rows(Rows), .AddressBits(AddressBits), .CountBits(CountBits)
    ) u_context (
      .clk_i, .clear_i(!busy_q), .next_i(context_start), .causal_i, .heads_i, .head_tiles_i, .rows_i, .past_i, .keys_i,
      .last_o(context_last), .rows_o(context_rows), .first_limit_o(context_limit), .keys_o(context_keys),
      .offset_o(context_offset), .head_offset_o(unused_head_offset), .value_offset_o(value_offset)
    );
    lutra_transformer_tile #(
      .Size(Size), .Lanes(Lanes), .Rows(Rows), .AddressBits(AddressBits), .CountBits(CountBits)
    ) u_scores (
      .clk_i, .clear_i(!busy_q), .next_i(scores_start), .causal_i, .heads_i, .head_tiles_i, .rows_i, .past_i, .keys_i,
      .last_o(scores_last), .rows_o(scores_rows), .first_limit_o(scores_limit), .keys_o(scores_keys),
      .offset_o(scores_offset), .head_offset_o(key_offset), .value_offset_o(unused_value_offset)
    );

    always_ff @(posedge clk_i) begin
      if (!rst_ni) begin
        bank_q <= 1'b0;
      end else begin
        bank_q <= bank_q ^ context_start;
      end
    end
    assign exponentials = bank_q ? Chunks : '0;

    logic unused;
    assign unused = ^{unused_head_offset, unused_value_offset};
  end else begin : gen_one
    lutra_transformer_tile #(
      .Size(Size), .Lanes(Lanes), .Rows(Rows), .AddressBits(AddressBits), .CountBits(CountBits)
    ) u_tile (
      .clk_i, .clear_i(!busy_q), .next_i(product_done_i && !product_scores_i), .causal_i, .heads_i, .head_tiles_i,
      .rows_i, .past_i, .keys_i, .last_o(context_last), .rows_o(context_rows), .first_limit_o(context_limit),
      .keys_o(context_keys), .offset_o(context_offset), .head_offset_o(key_offset), .value_offset_o(value_offset)
    );
    assign scores_last   = context_last;
    assign scores_rows   = context_rows;
    assign scores_limit  = context_limit;
    assign scores_keys   = context_keys;
    assign scores_offset = context_offset;
    assign exponentials  = '0;
  end

  assign tile_rows_o    = scores_o ? scores_rows : context_rows;
  assign first_limit_o  = scores_o ? scores_limit : context_limit;
  assign tile_keys_o    = scores_o ? scores_keys : context_keys;
  assign inner_o        = scores_o ? head_width_i : tile_keys_o;
  assign column_tiles_o = scores_o ? ((tile_keys_o - 1'b1) >> RowBits) + 1'b1 : head_tiles_i;
  assign left_o         = scores_o ? queries_i + scores_offset : exponentials;
  assign right_o        = scores_o ? keys_base_i + key_offset : values_base_i + value_offset;
  assign destination_o  = context_i + context_offset;

endmodule
