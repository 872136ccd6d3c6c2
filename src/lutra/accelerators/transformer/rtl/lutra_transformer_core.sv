// The quasi-weightless transformer whole: tokens or pixels in, logits out, every operation in integers (frozen/spec.md).
//
// A program of steps (program.py) runs strictly one after the other; with Overlap norms run beside the products and blocks
// that they read from or write for, row by row, and an attention's products and softmax at the same time. All products
// pass one systolic array; the residual stream, left operands, keys, values and exponentials each have a memory, and so
// has everything that a model brings.
// Before a program runs, the load port fills the memories that are loaded: program, weights, constants, norms, tokens,
// positions, exponentials, tables are numbers 0 to 7. The same program takes any number of rows, after any number of
// rows whose keys and values earlier runs have left.
//
// Timing: start_i in t, first step fetched in t + 1; steps run when step_times (latency.py) says, where neither stream
// stalls; busy_o is 0 in the cycle after the end has been read.
module lutra_transformer_core #(
  parameter int unsigned Size = 4,           // rows and columns of the array, a power of two from 2
  parameter int unsigned Lanes = 4,          // results of the array per cycle, a power of two up to Size
  parameter int unsigned NormLanes = 1,      // values per cycle of the layer norm, a power of two up to Lanes
  parameter int unsigned Rows = 8,           // rows of the longest sequence, a multiple of Size
  parameter int unsigned Depth = 64,         // most terms of a sum, a power of two
  parameter int unsigned StreamWords = 4,    // words of the widest row of the residual stream
  parameter int unsigned LeftWords = 16,     // words of each bank of the left operands
  parameter int unsigned NormedWords = 1,    // with Overlap: of each bank of what norms write of them
  parameter int unsigned KeyWords = 16,      // words of each bank of the keys
  parameter int unsigned ValueWords = 64,    // words of the values
  parameter int unsigned WeightWords = 64,   // words of the weights
  parameter int unsigned ConstantWords = 16,  // words of the constants
  parameter int unsigned NormWords = 64,     // words of the norms' constants
  parameter int unsigned TokenWords = 64,    // words of the tokens' rows
  parameter int unsigned PositionWords = 64,  // words of the positions' rows
  parameter int unsigned Tables = 1,         // tables
  parameter int unsigned ProgramWords = 16,  // steps
  parameter bit          Pixels = 0,         // the input stream brings pixels
  parameter bit          Overlap = 0,        // steps overlap
  parameter int unsigned InputBits = 32,     // bits of a beat of the input stream: at least 16 and 8 * Lanes
  parameter int unsigned LoadBits = 303,     // bits of the load port: a word of any memory
  parameter int unsigned AddressBits = 24,   // bits of an address
  parameter int unsigned CountBits = 16      // bits of a count
) (
  input  logic                   clk_i,           // clock
  input  logic                   rst_ni,          // synchronous reset, active low
  input  logic                   load_i,          // store a word; never while busy_o
  input  logic [2:0]             load_memory_i,   // in which memory
  input  logic [AddressBits-1:0] load_address_i,  // where
  input  logic [LoadBits-1:0]    load_data_i,     // the word, in the lowest bits
  input  logic                   start_i,         // run the program; never while busy_o
  input  logic [CountBits-1:0]   tokens_i,        // rows of this run, from 1; only with start_i
  input  logic [CountBits-1:0]   past_i,          // rows of earlier runs; only with start_i
  output logic                   busy_o,          // the program runs
  output logic [7:0]             step_o,          // which step
  input  logic                   x_valid_i,       // a token, or Lanes pixels, are offered
  output logic                   x_ready_o,       // they are taken
  input  logic [InputBits-1:0]   x_data_i,        // them
  output logic                   y_valid_o,       // Lanes logits of a row are offered
  input  logic                   y_ready_i,       // they are taken
  output logic [Lanes*16-1:0]    y_data_o,        // int16, the first in the lowest bits
  // Weightless blocks, beside the core: rows of Lanes columns per word, in and out.
  output logic [7:0]             block_o,         // which block is meant
  output logic                   block_x_valid_o,  // a word of its input is offered
  input  logic                   block_x_ready_i,  // it is taken
  output logic [Lanes*8-1:0]     block_x_data_o,  // Lanes int8 columns
  input  logic                   block_y_valid_i,  // a word of its output is offered
  output logic                   block_y_ready_o,  // it is taken
  input  logic [Lanes*32-1:0]    block_y_data_i   // Lanes columns, sign-extended to 32 bits
);

  localparam int unsigned StepBits = 303;
  localparam int unsigned PhaseBits = Lanes > 1 ? $clog2(Lanes) : 1;
  localparam int unsigned Groups = Size / Lanes;
  localparam int unsigned GroupBits = Groups > 1 ? $clog2(Groups) : 1;
  localparam int unsigned RowBits = $clog2(Size);
  localparam int unsigned Chunks = Rows / Lanes;  // words of a row of exponentials
  localparam int unsigned ChunkBits = Chunks > 1 ? $clog2(Chunks) : 1;
  localparam int unsigned ExponentialWords = Overlap ? 2 * Chunks : Chunks;  // of a bank: of one or two tiles
  localparam int unsigned ExponentialBits = ExponentialWords > 1 ? $clog2(ExponentialWords) : 1;
  localparam int unsigned KeyBits = $clog2(Rows + 1);
  localparam int unsigned Beats = StreamWords * (Lanes / NormLanes);
  localparam int unsigned KeyAddressBits = KeyWords > 1 ? $clog2(KeyWords) : 1;
  localparam int unsigned ValueBits = ValueWords > 1 ? $clog2(ValueWords) : 1;
  localparam int unsigned WeightBits = WeightWords > 1 ? $clog2(WeightWords) : 1;
  localparam int unsigned ConstantBits = ConstantWords > 1 ? $clog2(ConstantWords) : 1;
  localparam int unsigned NormBits = NormWords > 1 ? $clog2(NormWords) : 1;
  localparam int unsigned TokenBits = TokenWords > 1 ? $clog2(TokenWords) : 1;
  localparam int unsigned PositionBits = PositionWords > 1 ? $clog2(PositionWords) : 1;
  localparam int unsigned TableBits = Tables > 1 ? $clog2(Tables) : 1;
  localparam int unsigned ProgramBits = ProgramWords > 1 ? $clog2(ProgramWords) : 1;

  if (Rows % Size != 0 || Lanes > Size || NormLanes > Lanes || Depth < Rows || InputBits < 16 ||
      InputBits < 8*Lanes || LoadBits < StepBits || LoadBits < 48*Lanes || LoadBits < 8*Size ||
      ProgramWords > 256) begin : gen_wrong
    $error("Size must divide Rows, NormLanes <= Lanes <= Size, Depth >= Rows, streams and load port wide enough");
  end

  localparam logic [3:0] Embed = 4'd1, Positions = 4'd2, PixelRows = 4'd3, Product = 4'd5, Attend = 4'd6, Block = 4'd7;
  localparam logic [2:0] ToKeys = 3'd2, ToValues = 3'd3, ToStream = 3'd4, ToScores = 3'd6, ToContext = 3'd7;

  // Loading.
  logic [7:0] load;

  for (genvar m = 0; m < 8; m++) begin : gen_load
    assign load[m] = load_i && load_memory_i == 3'(m);
  end

  // The program: a norm, and a step of any other kind.
  logic                   taken, norm_start, norm_done, norm_follows, other_start, other_done, other_follows;
  logic [ProgramBits-1:0] step_address, norm_step, other_step;
  logic [StepBits-1:0]    word;
  logic [3:0]             op;
  logic [2:0]             step_target;
  logic [CountBits-1:0]   step_rows, inner, column_tiles, first_row, rows, tokens_q, past_q, heads;
  logic [5:0]             shift;
  logic [AddressBits-1:0] left, right, constants, destination, values;
  logic [7:0]             table_number;
  logic [15:0]            multiplier;
  logic [3:0]             gain;
  logic                   causal;
  logic [CountBits-1:0]   norm_step_rows, norm_rows, norm_beats;
  logic [4:0]             norm_shift;
  logic [AddressBits-1:0] norm_constants, norm_destination;
  logic [10:0]            norm_width, unused_width;
  logic [49:0]            norm_epsilon, unused_epsilon;

  lutra_transformer_program #(
    .Words(ProgramWords), .StepBits(StepBits), .AddressBits(ProgramBits), .Overlap(Overlap)
  ) u_program (
    .clk_i, .rst_ni, .write_i(load[0]), .write_address_i(load_address_i[ProgramBits-1:0]),
    .data_i(load_data_i[StepBits-1:0]), .start_i, .busy_o, .taken_o(taken), .step_o(step_address),
    .other_step_o(other_step), .other_word_o(word), .other_start_o(other_start), .other_done_i(other_done),
    .other_follows_o(other_follows), .norm_step_o(norm_step), .norm_start_o(norm_start), .norm_done_i(norm_done),
    .norm_follows_o(norm_follows), .norm_rows_o(norm_step_rows), .norm_beats_o(norm_beats), .norm_shift_o(norm_shift),
    .norm_constants_o(norm_constants), .norm_destination_o(norm_destination), .norm_width_o(norm_width),
    .norm_epsilon_o(norm_epsilon)
  );
  lutra_transformer_step #(.StepBits(StepBits)) u_step (
    .word_i(word), .op_o(op), .target_o(step_target), .rows_o(step_rows), .inner_o(inner),
    .column_tiles_o(column_tiles), .shift_o(shift), .left_o(left), .right_o(right), .constants_o(constants),
    .destination_o(destination), .first_row_o(first_row), .table_o(table_number),
    .width_o(unused_width), .epsilon_o(unused_epsilon), .multiplier_o(multiplier), .gain_o(gain), .heads_o(heads),
    .values_o(values), .causal_o(causal)
  );

  assign step_o    = 8'(step_address);
  assign rows      = step_rows == '0 ? tokens_q : step_rows;
  assign norm_rows = norm_step_rows == '0 ? tokens_q : norm_step_rows;

  always_ff @(posedge clk_i) begin
    if (start_i) begin
      tokens_q <= tokens_i;
      past_q   <= past_i;
    end
  end

  logic embed_start, pixels_start, attention_start, product_start, attention_product, block_start;
  logic embed_done, pixels_done, attention_done, product_done;

  assign embed_start     = other_start && (op == Embed || op == Positions);
  assign pixels_start    = other_start && op == PixelRows;
  assign attention_start = other_start && op == Attend;
  assign product_start   = (other_start && (op == Product || op == Block)) || attention_product;
  assign block_start     = other_start && op == Block;
  assign other_done      = embed_done || pixels_done || attention_done ||
                           (product_done && (op == Product || op == Block));

  // Attention, and what a product is given.
  logic                   attending, scoring, scored, product_ready, softmax_clear, softmax_start, softmax_done;
  logic [CountBits-1:0]   tile_rows, first_limit, tile_keys, attention_inner, attention_tiles;
  logic [AddressBits-1:0] attention_left, attention_right, attention_destination;
  logic [2:0]             product_target, target;  // of what starts, and of what comes out
  logic [5:0]             product_shift;
  logic [CountBits-1:0]   product_first_row;

  lutra_transformer_attention #(
    .Size(Size), .Lanes(Lanes), .Rows(Rows), .AddressBits(AddressBits), .CountBits(CountBits), .Overlap(Overlap)
  ) u_attention (
    .clk_i, .rst_ni, .start_i(attention_start), .causal_i(causal), .heads_i(heads), .head_tiles_i(column_tiles),
    .head_width_i(inner), .rows_i(rows), .past_i(past_q), .keys_i(past_q + tokens_q), .queries_i(left),
    .keys_base_i(right), .values_base_i(values), .context_i(destination),
    .busy_o(attending), .done_o(attention_done), .scores_o(scoring), .product_start_o(attention_product),
    .product_ready_i(product_ready), .product_done_i(product_done), .product_scores_i(target == ToScores),
    .softmax_clear_o(softmax_clear), .softmax_start_o(softmax_start),
    .softmax_done_i(softmax_done), .tile_rows_o(tile_rows), .first_limit_o(first_limit), .tile_keys_o(tile_keys),
    .inner_o(attention_inner), .column_tiles_o(attention_tiles), .left_o(attention_left), .right_o(attention_right),
    .destination_o(attention_destination)
  );

  assign scored            = product_done && target == ToScores;
  assign product_target    = op == Block ? ToStream : !attending ? step_target : scoring ? ToScores : ToContext;
  assign product_shift     = product_target == ToContext ? 6'd16 - 6'(gain) : shift;
  assign product_first_row = attending ? '0 : product_target == ToKeys || product_target == ToValues ? past_q : first_row;

  // Rows to and from a weightless block.
  logic                   block_read, block_row_last, block_last;
  logic [AddressBits-1:0] block_address, block_offset;
  logic [RowBits-1:0]     block_bank;
  logic [CountBits-1:0]   block_row, block_chunk;
  logic [CountBits-1:0]   normed_rows, stream_rows;  // rows that a norm has written, and that a product or block has

  lutra_transformer_block_rows #(
    .Size(Size), .Rows(Rows), .AddressBits(AddressBits), .CountBits(CountBits)
  ) u_block_rows (
    .clk_i, .rst_ni, .start_i(block_start), .rows_i(rows), .chunks_i(inner), .left_i(left),
    .follow_i(other_follows), .there_i(normed_rows), .read_o(block_read), .address_o(block_address),
    .bank_o(block_bank), .valid_o(block_x_valid_o),
    .ready_i(block_x_ready_i), .step_i(block_y_valid_i && block_y_ready_o), .row_last_o(block_row_last),
    .last_o(block_last), .row_o(block_row), .chunk_o(block_chunk), .chunk_offset_o(block_offset)
  );

  assign block_o = table_number;

  // The product.
  logic                   left_read, right_read, constant_read, factor_read, stream_read, result_write;
  logic [AddressBits-1:0] left_address, right_address, constant_address, stream_address, result_address;
  logic [PhaseBits-1:0]   left_phase, right_phase;
  logic [Size*8-1:0]      left_data, exponential_data, weight_data, key_data, value_data;
  logic [Lanes*48-1:0]    constant_data;
  logic [RowBits-1:0]     factor_row, result_bank;
  logic [16:0]            factor;
  logic [5:0]             exponent;
  logic [Lanes*16-1:0]    stream_data, norm_stream_data, result;
  logic [Lanes*8-1:0]     narrow_result;
  logic [GroupBits-1:0]   result_group;
  logic [CountBits-1:0]   result_chunk;

  lutra_transformer_product #(
    .Size(Size), .Lanes(Lanes), .Depth(Depth), .Rows(Rows), .Tables(Tables), .AddressBits(AddressBits),
    .CountBits(CountBits), .Overlap(Overlap)
  ) u_product (
    .clk_i, .rst_ni, .start_i(product_start), .ready_o(product_ready), .target_i(product_target),
    .rows_i(attending ? tile_rows : rows),
    .inner_i(attending ? attention_inner : inner), .column_tiles_i(attending ? attention_tiles : column_tiles),
    .left_i(attending ? attention_left : left), .right_i(attending ? attention_right : right),
    .constants_i(constants), .destination_i(attending ? attention_destination : destination),
    .first_row_i(product_first_row), .shift_i(product_shift), .multiplier_i(multiplier), .table_i(table_number),
    .done_o(product_done), .follow_i(other_follows), .there_i(normed_rows), .written_o(stream_rows),
    .left_read_o(left_read), .left_address_o(left_address), .left_phase_o(left_phase), .left_data_i(left_data),
    .exponential_data_i(exponential_data), .right_read_o(right_read), .right_address_o(right_address),
    .right_phase_o(right_phase), .weight_data_i(weight_data), .key_data_i(key_data), .value_data_i(value_data),
    .constant_read_o(constant_read), .constant_address_o(constant_address), .constant_data_i(constant_data),
    .factor_read_o(factor_read), .factor_row_o(factor_row), .factor_i(factor), .exponent_i(exponent),
    .stream_read_o(stream_read), .stream_address_o(stream_address), .stream_data_i(stream_data),
    .outside_i(op == Block), .outside_valid_i(block_y_valid_i), .outside_ready_o(block_y_ready_o),
    .outside_data_i(block_y_data_i), .outside_row_last_i(block_row_last), .outside_last_i(block_last),
    .outside_row_i(block_row), .outside_chunk_i(block_chunk), .outside_offset_i(block_offset),
    .table_write_i(load[7]), .table_address_i(load_address_i[TableBits+7:0]), .table_data_i(load_data_i[7:0]),
    .target_o(target), .write_o(result_write), .address_o(result_address), .bank_o(result_bank), .group_o(result_group),
    .chunk_o(result_chunk), .data_o(result), .logits_valid_o(y_valid_o), .logits_ready_i(y_ready_i)
  );

  assign y_data_o = result;
  for (genvar l = 0; l < Lanes; l++) begin : gen_narrow
    assign narrow_result[8*l +: 8] = result[16*l +: 8];
  end

  // The softmax and its exponentials.
  logic                 e_valid, e_bank;
  logic [RowBits-1:0]   e_row;
  logic [ChunkBits-1:0] e_chunk;
  logic [ExponentialBits-1:0] e_address;
  logic [Lanes*8-1:0]   e_data, unused_e_word;

  lutra_transformer_softmax #(.Size(Size), .Lanes(Lanes), .Keys(Rows), .Overlap(Overlap)) u_softmax (
    .clk_i, .rst_ni, .table_write_i(load[6]), .table_address_i(load_address_i[7:0]), .table_data_i(load_data_i[6:0]),
    .causal_i(causal), .first_limit_i(first_limit[KeyBits-1:0]), .rows_i(tile_rows[RowBits:0]),
    .chunks_i((ChunkBits+1)'((tile_keys + CountBits'(Lanes - 1)) >> $clog2(Lanes))), .clear_i(softmax_clear),
    .scored_i(scored), .used_i(product_done && target == ToContext), .e_bank_o(e_bank),
    .store_i(result_write && target == ToScores), .store_row_i(result_bank), .store_chunk_i(result_chunk[ChunkBits-1:0]),
    .scores_i(result), .start_i(softmax_start), .e_valid_o(e_valid), .e_row_o(e_row), .e_chunk_o(e_chunk),
    .e_data_o(e_data), .done_o(softmax_done), .factor_read_i(factor_read), .factor_row_i(factor_row),
    .factor_o(factor), .exponent_o(exponent)
  );
  assign e_address = ExponentialBits'(e_chunk) + (e_bank ? ExponentialBits'(Chunks) : '0);

  lutra_transformer_banks #(
    .Banks(Size), .Lanes(Lanes), .Words(ExponentialWords), .AddressBits(ExponentialBits)
  ) u_exponentials (
    .clk_i, .write_i(e_valid), .write_bank_i(e_row), .write_address_i(e_address), .data_i(e_data),
    .read_i(left_read), .read_address_i(left_address[ExponentialBits-1:0]), .phase_i(left_phase),
    .column_o(exponential_data), .word_bank_i('0), .word_o(unused_e_word)
  );

  // Rows of the stream through the norm.
  logic                   norm_read, norm_constant_read, norm_write;
  logic [AddressBits-1:0] norm_address, norm_constant_address, norm_write_address;
  logic [NormLanes*48-1:0] norm_constant_data;
  logic [RowBits-1:0]     norm_bank;
  logic [Lanes*8-1:0]     norm_data;

  lutra_transformer_rows #(
    .Size(Size), .Lanes(Lanes), .NormLanes(NormLanes), .Beats(Beats), .Rows(Rows), .AddressBits(AddressBits),
    .CountBits(CountBits)
  ) u_rows (
    .clk_i, .rst_ni, .start_i(norm_start), .rows_i(norm_rows), .beats_i(norm_beats), .width_i(norm_width),
    .epsilon_i(norm_epsilon), .shift_i(norm_shift), .constants_i(norm_constants),
    .destination_i(norm_destination), .done_o(norm_done), .follow_i(norm_follows), .there_i(stream_rows),
    .written_o(normed_rows), .stream_read_o(norm_read), .stream_address_o(norm_address),
    .stream_data_i(norm_stream_data),
    .constant_read_o(norm_constant_read), .constant_address_o(norm_constant_address),
    .constant_data_i(norm_constant_data), .write_o(norm_write), .bank_o(norm_bank),
    .address_o(norm_write_address), .data_o(norm_data)
  );

  // The input stream.
  logic                   embed_ready, embed_read, embed_write, pixels_ready, pixels_write;
  logic [AddressBits-1:0] token_address, position_address, embed_address, pixels_address;
  logic [Lanes*16-1:0]    token_data, position_data, embed_data;
  logic [RowBits-1:0]     pixels_bank;
  logic [Lanes*8-1:0]     pixels_data;

  lutra_transformer_embed #(
    .Lanes(Lanes), .Rows(Rows), .AddressBits(AddressBits), .CountBits(CountBits)
  ) u_embed (
    .clk_i, .rst_ni, .start_i(embed_start), .tokens_i(op == Embed), .rows_i(rows), .past_i(past_q), .chunks_i(inner),
    .token_stride_i(right), .position_stride_i(constants), .done_o(embed_done), .x_valid_i, .x_ready_o(embed_ready),
    .x_data_i(x_data_i[15:0]), .read_o(embed_read), .token_address_o(token_address),
    .position_address_o(position_address), .token_data_i(token_data), .position_data_i(position_data),
    .write_o(embed_write), .address_o(embed_address), .data_o(embed_data)
  );

  if (Pixels) begin : gen_pixels
    lutra_transformer_pixels #(
      .Size(Size), .Lanes(Lanes), .Rows(Rows), .AddressBits(AddressBits), .CountBits(CountBits)
    ) u_pixels (
      .clk_i, .rst_ni, .start_i(pixels_start), .rows_i(rows), .chunks_i(inner), .destination_i(destination),
      .done_o(pixels_done), .x_valid_i, .x_ready_o(pixels_ready), .x_data_i(x_data_i[Lanes*8-1:0]),
      .write_o(pixels_write), .bank_o(pixels_bank), .address_o(pixels_address), .data_o(pixels_data)
    );
  end else begin : gen_no_pixels
    logic unused_start;
    assign unused_start   = pixels_start;
    assign pixels_done    = 1'b0;
    assign pixels_ready   = 1'b0;
    assign pixels_write   = 1'b0;
    assign pixels_bank    = '0;
    assign pixels_address = '0;
    assign pixels_data    = '0;
  end

  assign x_ready_o = embed_ready || pixels_ready;

  // Memories of values. What a norm reads and writes beside another step has a memory of its own.
  logic                   left_write, stream_write;
  logic [RowBits-1:0]     left_bank;
  logic [AddressBits-1:0] left_write_address, left_read_address, stream_write_address;
  logic [Lanes*8-1:0]     left_write_data, unused_key_word;
  logic [Lanes*16-1:0]    stream_write_data;
  logic                   result_left;

  assign result_left          = result_write && (target == 3'd0 || target == 3'd1 || target == ToContext);
  assign left_write           = result_left || pixels_write;
  assign left_bank            = pixels_write ? pixels_bank : result_bank;
  assign left_write_address   = pixels_write ? pixels_address : result_address;
  assign left_write_data      = pixels_write ? pixels_data : narrow_result;
  assign stream_write         = (result_write && target == ToStream) || embed_write;
  assign stream_write_address = embed_write ? embed_address : result_address;
  assign stream_write_data    = embed_write ? embed_data : result;
  assign left_read_address    = op == Block ? block_address : left_address;

  lutra_transformer_left #(
    .Banks(Size), .Lanes(Lanes), .Words(LeftWords), .NormedWords(NormedWords), .AddressBits(AddressBits),
    .Overlap(Overlap)
  ) u_left (
    .clk_i, .write_i(left_write), .write_bank_i(left_bank), .write_address_i(left_write_address),
    .data_i(left_write_data), .norm_write_i(norm_write), .norm_bank_i(norm_bank), .norm_address_i(norm_write_address),
    .norm_data_i(norm_data), .read_i(left_read || block_read), .read_address_i(left_read_address),
    .phase_i(left_phase), .column_o(left_data), .word_bank_i(block_bank), .word_o(block_x_data_o)
  );
  lutra_transformer_banks #(.Banks(Size), .Lanes(Lanes), .Words(KeyWords), .AddressBits(KeyAddressBits)) u_keys (
    .clk_i, .write_i(result_write && target == ToKeys), .write_bank_i(result_bank),
    .write_address_i(result_address[KeyAddressBits-1:0]), .data_i(narrow_result), .read_i(right_read),
    .read_address_i(right_address[KeyAddressBits-1:0]), .phase_i(right_phase), .column_o(key_data),
    .word_bank_i('0), .word_o(unused_key_word)
  );
  lutra_transformer_wide #(.Groups(Groups), .Lanes(Lanes), .Words(ValueWords), .AddressBits(ValueBits)) u_values (
    .clk_i, .write_i(result_write && target == ToValues), .write_group_i(result_group),
    .write_address_i(result_address[ValueBits-1:0]), .data_i(narrow_result), .read_i(right_read),
    .read_address_i(right_address[ValueBits-1:0]), .data_o(value_data)
  );
  lutra_transformer_stream #(
    .Words(StreamWords*Rows), .Bits(Lanes*16), .AddressBits(AddressBits), .Overlap(Overlap)
  ) u_stream (
    .clk_i, .write_i(stream_write), .write_address_i(stream_write_address), .data_i(stream_write_data),
    .read_i(stream_read), .read_address_i(stream_address), .data_o(stream_data), .norm_read_i(norm_read),
    .norm_address_i(norm_address), .norm_data_o(norm_stream_data)
  );

  // Memories that are loaded.
  lutra_memory #(.Words(WeightWords), .Bits(Size*8), .AddressBits(WeightBits)) u_weights (
    .clk_i, .write_i(load[1]), .write_address_i(load_address_i[WeightBits-1:0]), .data_i(load_data_i[Size*8-1:0]),
    .read_i(right_read), .clear_i(1'b0), .read_address_i(right_address[WeightBits-1:0]), .data_o(weight_data)
  );
  lutra_memory #(.Words(ConstantWords), .Bits(Lanes*48), .AddressBits(ConstantBits)) u_constants (
    .clk_i, .write_i(load[2]), .write_address_i(load_address_i[ConstantBits-1:0]), .data_i(load_data_i[Lanes*48-1:0]),
    .read_i(constant_read), .clear_i(1'b0), .read_address_i(constant_address[ConstantBits-1:0]), .data_o(constant_data)
  );
  lutra_memory #(.Words(NormWords), .Bits(NormLanes*48), .AddressBits(NormBits)) u_norms (
    .clk_i, .write_i(load[3]), .write_address_i(load_address_i[NormBits-1:0]), .data_i(load_data_i[NormLanes*48-1:0]),
    .read_i(norm_constant_read), .clear_i(1'b0), .read_address_i(norm_constant_address[NormBits-1:0]),
    .data_o(norm_constant_data)
  );
  lutra_memory #(.Words(TokenWords), .Bits(Lanes*16), .AddressBits(TokenBits)) u_tokens (
    .clk_i, .write_i(load[4]), .write_address_i(load_address_i[TokenBits-1:0]), .data_i(load_data_i[Lanes*16-1:0]),
    .read_i(embed_read), .clear_i(1'b0), .read_address_i(token_address[TokenBits-1:0]), .data_o(token_data)
  );
  lutra_memory #(.Words(PositionWords), .Bits(Lanes*16), .AddressBits(PositionBits)) u_positions (
    .clk_i, .write_i(load[5]), .write_address_i(load_address_i[PositionBits-1:0]),
    .data_i(load_data_i[Lanes*16-1:0]), .read_i(embed_read), .clear_i(1'b0),
    .read_address_i(position_address[PositionBits-1:0]), .data_o(position_data)
  );

  // Addresses are as wide as a step holds them; memories take what they need. The rest is for test benches.
  logic unused;
  assign unused = ^{load_address_i, load_data_i, x_data_i, first_limit, tile_rows, tile_keys, left_address,
                    right_address, constant_address, result_address, result_chunk, norm_constant_address,
                    token_address, position_address, unused_width, unused_epsilon, taken, norm_step, other_step};

endmodule
