// The array with what feeds it and what its results pass: one product of a program, or of attention, at a time.
//
// Left operands come from the left or the exponential memory, right ones from weights, keys or values. A beat of sums is
// requantised with constants of its columns, of the scores, or of its row, looked up in a table or added to the residual
// stream, and leaves with its place in the memory that target_i names (see program.py: 0 left, 1 table, 2 keys, 3 values,
// 4 stream, 5 logits, 6 scores, 7 context). Only logits can be held up; everything behind the array waits then. With
// outside_i sums come from a weightless block instead, row by row.
//
// Timing: start_i in t, first operands taken in t + 2; the last result is written, and done_o is 1, in t + product_cycles
// + 5 (array.py), plus what logits are held up. Inputs stay the same until then. With Overlap those from target_i to
// destination_i count with start_i alone, and ready_o is 1 as soon as the operands of a product have been read and the
// one before it is over: operands of the next one load then while results of the first leave (overlap.py).
module lutra_transformer_product #(
  parameter int unsigned Size = 4,          // rows and columns of the array, a power of two from 2
  parameter int unsigned Lanes = 4,         // results per beat, a power of two up to Size
  parameter int unsigned Depth = 64,        // most terms of a sum, a power of two
  parameter int unsigned Rows = 8,          // rows of the longest sequence, a multiple of Size
  parameter int unsigned Tables = 1,        // tables
  parameter int unsigned AddressBits = 24,  // bits of an address
  parameter int unsigned CountBits = 16,    // bits of a count
  parameter bit          Overlap = 0        // operands of a product load behind the product before
) (
  input  logic                    clk_i,           // clock
  input  logic                    rst_ni,          // synchronous reset, active low
  input  logic                    start_i,         // begin
  output logic                    ready_o,         // start_i is heard
  input  logic [2:0]              target_i,        // where results go
  input  logic [CountBits-1:0]    rows_i,          // rows of the left operands, from 1
  input  logic [CountBits-1:0]    inner_i,         // terms of a sum, from 1
  input  logic [CountBits-1:0]    column_tiles_i,  // tiles side by side, from 1
  input  logic [AddressBits-1:0]  left_i,          // where left operands begin
  input  logic [AddressBits-1:0]  right_i,         // where right operands begin
  input  logic [5:0]              shift_i,         // bits that requantising rounds away; context: 16 - gain, and the row's
  input  logic [AddressBits-1:0]  destination_i,   // where results begin
  input  logic [AddressBits-1:0]  constants_i,     // where constants begin
  input  logic [CountBits-1:0]    first_row_i,     // row of the first result in its memory
  input  logic [15:0]             multiplier_i,    // of scores
  input  logic [7:0]              table_i,         // which table
  output logic                    done_o,          // the last result is written
  input  logic                    follow_i,        // with Overlap: rows of left operands come one by one
  input  logic [CountBits-1:0]    there_i,         // with Overlap: so many are there
  output logic [CountBits-1:0]    written_o,       // with Overlap: rows of the stream that are there, in this product
  // Operands: memories that answer in the next cycle and hold their word.
  output logic                    left_read_o,     // read a column of left operands
  output logic [AddressBits-1:0]  left_address_o,  // where
  output logic [$clog2(Lanes)+(Lanes == 1 ? 1 : 0)-1:0] left_phase_o,  // which column of that word
  input  logic [Size*8-1:0]       left_data_i,     // from the left memory
  input  logic [Size*8-1:0]       exponential_data_i,  // from the exponential memory
  output logic                    right_read_o,    // read right operands
  output logic [AddressBits-1:0]  right_address_o,  // where
  output logic [$clog2(Lanes)+(Lanes == 1 ? 1 : 0)-1:0] right_phase_o,  // which column of that word of keys
  input  logic [Size*8-1:0]       weight_data_i,   // from the weights
  input  logic [Size*8-1:0]       key_data_i,      // from the keys
  input  logic [Size*8-1:0]       value_data_i,    // from the values
  // Constants and the stream: likewise.
  output logic                    constant_read_o,     // read constants
  output logic [AddressBits-1:0]  constant_address_o,  // where
  input  logic [Lanes*48-1:0]     constant_data_i,     // per column: bias 32, multiplier 16
  output logic                    factor_read_o,   // read the reciprocal of a row
  output logic [$clog2(Size)-1:0] factor_row_o,    // which row of the tile
  input  logic [16:0]             factor_i,        // its factor
  input  logic [5:0]              exponent_i,      // its exponent
  output logic                    stream_read_o,   // read the residual stream
  output logic [AddressBits-1:0]  stream_address_o,  // where
  input  logic [Lanes*16-1:0]     stream_data_i,   // Lanes values of a row
  // The tables' load port.
  input  logic                    table_write_i,   // store an entry
  input  logic [$clog2(Tables)+(Tables == 1 ? 1 : 0)+7:0] table_address_i,  // table and entry
  input  logic [7:0]              table_data_i,    // the entry
  // Sums of a weightless block.
  input  logic                    outside_i,         // results are those of a block; the array is not started
  input  logic                    outside_valid_i,   // a beat of them is offered
  output logic                    outside_ready_o,   // it is taken
  input  logic [Lanes*32-1:0]     outside_data_i,    // Lanes values of a row
  input  logic                    outside_row_last_i,  // it is the last one of its row
  input  logic                    outside_last_i,    // it is the last one
  input  logic [CountBits-1:0]    outside_row_i,     // its row
  input  logic [CountBits-1:0]    outside_chunk_i,   // its place in the row
  input  logic [AddressBits-1:0]  outside_offset_i,  // that times the distance of chunks
  // Results.
  output logic [2:0]              target_o,        // where they go
  output logic                    write_o,         // a result for a memory, or for the softmax
  output logic [AddressBits-1:0]  address_o,       // where
  output logic [$clog2(Size)-1:0] bank_o,          // bank of a banked memory; scores: row of the tile
  output logic [$clog2(Size/Lanes)+(Size == Lanes ? 1 : 0)-1:0] group_o,  // part of a wide word
  output logic [CountBits-1:0]    chunk_o,         // scores: which Lanes keys
  output logic [Lanes*16-1:0]     data_o,          // Lanes results, int8 ones sign-extended
  output logic                    logits_valid_o,  // data_o are logits, offered
  input  logic                    logits_ready_i   // they are taken
);

  if (Rows % Size != 0 || Depth < Size) begin : gen_wrong
    $error("Rows must be a multiple of Size, Depth at least Size");
  end

  localparam int unsigned RowBits = $clog2(Size);
  localparam int unsigned KBits = $clog2(Depth);
  localparam int unsigned Groups = Size / Lanes;
  localparam int unsigned GroupBits = Groups > 1 ? $clog2(Groups) : 1;
  localparam int unsigned TableBits = Tables > 1 ? $clog2(Tables) : 1;
  localparam logic [AddressBits-1:0] RowTiles = AddressBits'(Rows / Size);
  localparam logic [AddressBits-1:0] RowCount = AddressBits'(Rows);
  localparam logic [AddressBits-1:0] One = AddressBits'(1);
  localparam logic [2:0] IntoTable = 3'd1, Values = 3'd3, Stream = 3'd4, Logits = 3'd5, Scores = 3'd6, Context = 3'd7;
  localparam int unsigned Stages = 5;  // sums, three of requantising, and what comes behind

  // What operands and results of a product are told.
  localparam int unsigned WordBits = 3 + 3*CountBits + AddressBits + 6 + AddressBits;
  logic                   feeding, hold, accept, last, result_start;
  logic [2:0]             fed_target, target;
  logic [CountBits-1:0]   fed_rows, fed_inner, fed_tiles, rows, unused_inner, column_tiles;
  logic [AddressBits-1:0] fed_right, unused_right, unused_destination, destination;
  logic [5:0]             unused_shift, result_shift;

  lutra_transformer_queue #(.Bits(WordBits), .Overlap(Overlap)) u_queue (
    .clk_i, .rst_ni, .start_i, .word_i({target_i, rows_i, inner_i, column_tiles_i, right_i, shift_i, destination_i}),
    .feeding_i(feeding), .last_i(accept && last), .done_i(done_o), .ready_o,
    .feed_o({fed_target, fed_rows, fed_inner, fed_tiles, fed_right, unused_shift, unused_destination}),
    .result_o({target, rows, unused_inner, column_tiles, unused_right, result_shift, destination}),
    .result_start_o(result_start), .hold_o(hold)
  );

  assign target_o = target;

  // Operands.
  logic [CountBits-1:0]   row_tiles, left_tile, unused_right_tile;
  logic [AddressBits-1:0] left_stride, right_tile_stride, right_inner_stride;
  logic                   left_go, array_start, a_busy, a_valid, a_ready, b_busy, b_valid, b_ready;
  logic [Size*8-1:0]      a_data, b_data;

  assign array_start = start_i && !outside_i;
  assign feeding     = a_busy || b_busy;
  assign row_tiles   = ((fed_rows - 1'b1) >> RowBits) + 1'b1;
  assign left_stride = fed_target == Context ? One : RowTiles;
  assign a_data      = fed_target == Context ? exponential_data_i : left_data_i;

  always_comb begin
    right_tile_stride  = AddressBits'(fed_inner);
    right_inner_stride = One;
    b_data             = weight_data_i;
    if (fed_target == Scores) begin
      right_tile_stride  = One;
      right_inner_stride = RowTiles;
      b_data             = key_data_i;
    end else if (fed_target == Context) begin
      right_tile_stride = RowCount;
      b_data            = value_data_i;
    end
  end

  lutra_transformer_feeder #(.AddressBits(AddressBits), .CountBits(CountBits), .Phases(Lanes)) u_left (
    .clk_i, .rst_ni, .start_i(array_start), .repeats_i(CountBits'(1)), .tiles_i(row_tiles), .inner_i(fed_inner),
    .base_i(left_i), .tile_stride_i(One), .inner_stride_i(left_stride), .phased_i(1'b1), .go_i(left_go),
    .tile_o(left_tile), .busy_o(a_busy),
    .read_o(left_read_o), .address_o(left_address_o), .phase_o(left_phase_o), .valid_o(a_valid), .ready_i(a_ready)
  );
  lutra_transformer_feeder #(.AddressBits(AddressBits), .CountBits(CountBits), .Phases(Lanes)) u_right (
    .clk_i, .rst_ni, .start_i(array_start), .repeats_i(row_tiles), .tiles_i(fed_tiles), .inner_i(fed_inner),
    .base_i(array_start ? right_i : fed_right), .tile_stride_i(right_tile_stride), .inner_stride_i(right_inner_stride),
    .phased_i(fed_target == Scores), .go_i(1'b1), .tile_o(unused_right_tile), .busy_o(b_busy),
    .read_o(right_read_o), .address_o(right_address_o), .phase_o(right_phase_o), .valid_o(b_valid), .ready_i(b_ready)
  );

  // The array.
  logic                sums_valid, advance;
  logic [Lanes*32-1:0] sums, sums_q;

  assign accept          = (outside_i ? outside_valid_i : sums_valid && !hold) && advance;
  assign outside_ready_o = outside_i && advance;

  lutra_systolic_sums #(
    .Size(Size), .Depth(Depth), .Lanes(Lanes), .SumBits(32), .TileBits(CountBits), .Overlap(Overlap)
  ) u_array (
    .clk_i, .rst_ni, .inner_i(fed_inner[KBits:0]), .column_tiles_i(fed_tiles),
    .a_valid_i(a_valid), .a_ready_o(a_ready), .a_data_i(a_data),
    .b_valid_i(b_valid), .b_ready_o(b_ready), .b_data_i(b_data),
    .y_valid_o(sums_valid), .y_ready_i(advance && !outside_i && !hold), .y_data_o(sums)
  );

  // Where its beats belong.
  logic                   walk_keep, walk_tile_last, walk_last, keep;
  logic [CountBits-1:0]   walk_row, walk_chunk, row, chunk;
  logic [GroupBits-1:0]   group;
  logic [AddressBits-1:0] walk_offset, chunk_offset, tile_offset, place, address;

  lutra_transformer_walk #(
    .Size(Size), .Groups(Groups), .Stride(Rows / Size), .AddressBits(AddressBits), .CountBits(CountBits)
  ) u_walk (
    .clk_i, .start_i(result_start), .rows_i(rows), .column_tiles_i(column_tiles), .step_i(accept),
    .keep_o(walk_keep), .tile_last_o(walk_tile_last), .last_o(walk_last),
    .row_o(walk_row), .chunk_o(walk_chunk), .group_o(group), .chunk_offset_o(walk_offset), .tile_offset_o(tile_offset)
  );

  assign keep         = outside_i || walk_keep;
  assign last         = outside_i ? outside_last_i : walk_last;
  assign row          = outside_i ? outside_row_i : walk_row;
  assign chunk        = outside_i ? outside_chunk_i : walk_chunk;
  assign chunk_offset = outside_i ? outside_offset_i : walk_offset;
  assign place        = AddressBits'(row) + AddressBits'(first_row_i);

  always_comb begin
    unique case (target)
      Values:  address = destination + (tile_offset << RowBits) + place;
      Stream:  address = destination + (chunk_offset << RowBits) + place;
      default: address = destination + chunk_offset + (place >> RowBits);
    endcase
  end

  // Constants, in the cycle behind the sums' arrival.
  logic [Lanes*32-1:0] bias;
  logic [Lanes*17-1:0] multiplier;
  logic [5:0]          shift;
  logic                scalar;

  assign constant_read_o    = accept;
  assign constant_address_o = constants_i + AddressBits'(chunk);
  assign factor_read_o      = accept;
  assign factor_row_o       = row[RowBits-1:0];
  assign scalar             = target == Scores || target == Context;
  assign shift              = target == Context ? result_shift + exponent_i : result_shift;

  for (genvar l = 0; l < Lanes; l++) begin : gen_constant
    assign bias[32*l +: 32] = scalar ? '0 : constant_data_i[48*l + 16 +: 32];
    assign multiplier[17*l +: 17] = target == Scores ? {1'b0, multiplier_i} :
                                    target == Context ? factor_i : {1'b0, constant_data_i[48*l +: 16]};
  end

  always_ff @(posedge clk_i) begin
    if (advance) begin
      sums_q <= outside_i ? outside_data_i : sums;
    end
  end

  logic [Lanes*16-1:0] requantised;

  lutra_transformer_requantise #(.Lanes(Lanes)) u_requantise (
    .clk_i, .enable_i(advance), .sums_i(sums_q), .bias_i(bias), .multiplier_i(multiplier), .shift_i(shift),
    .wide_i(target == Stream || target == Logits || target == Scores), .y_o(requantised)
  );

  // What goes along with a beat; tap k is k + 1 stages behind the array.
  localparam int unsigned WalkBits = 2 + AddressBits + RowBits + GroupBits + CountBits;
  logic [WalkBits-1:0]    walk;
  logic [3*WalkBits-1:0]  taps;  // 2 to 4
  logic [WalkBits-1:0]    before_stream, at_end;
  logic                   end_keep, end_last;

  assign walk = {accept && keep, accept && last, address, place[RowBits-1:0], group, chunk};

  lutra_delay #(.Width(WalkBits), .Taps(Stages), .FirstTap(2)) u_walk_taps (
    .clk_i, .rst_ni, .enable_i(advance), .word_i(walk), .taps_o(taps)
  );

  assign before_stream    = taps[0 +: WalkBits];
  assign at_end           = taps[2*WalkBits +: WalkBits];
  assign stream_read_o    = advance && before_stream[WalkBits-1] && target == Stream;
  assign stream_address_o = before_stream[WalkBits-3 -: AddressBits];
  assign {end_keep, end_last, address_o, bank_o, group_o, chunk_o} = at_end;

  // The last stage.
  logic [Lanes*8-1:0]  narrow, looked_up;
  logic [Lanes*16-1:0] plain_q, added;

  for (genvar l = 0; l < Lanes; l++) begin : gen_lane
    assign narrow[8*l +: 8] = requantised[16*l +: 8];
    assign data_o[16*l +: 16] = target == IntoTable ? {{8{looked_up[8*l + 7]}}, looked_up[8*l +: 8]} :
                                target == Stream ? added[16*l +: 16] : plain_q[16*l +: 16];
  end

  lutra_transformer_table #(.Lanes(Lanes), .Tables(Tables)) u_table (
    .clk_i, .enable_i(advance), .table_i(table_i[TableBits-1:0]), .x_i(narrow), .y_o(looked_up),
    .write_i(table_write_i), .write_address_i(table_address_i), .write_data_i(table_data_i)
  );
  lutra_transformer_residual #(.Lanes(Lanes)) u_residual (
    .clk_i, .enable_i(advance), .x_i(stream_data_i), .branch_i(requantised), .y_o(added)
  );

  always_ff @(posedge clk_i) begin
    if (advance) begin
      plain_q <= requantised;
    end
  end

  assign logits_valid_o = end_keep && target == Logits;
  assign advance        = !logits_valid_o || logits_ready_i;
  assign write_o        = end_keep && target != Logits;
  assign done_o         = end_last && advance;

  // Rows that another step may follow: it reads left operands as they come, and says which rows of the stream are done.
  if (Overlap) begin : gen_follow
    logic                 row_last;
    logic [CountBits-1:0] written_q;

    lutra_delay #(.Width(1), .Taps(Stages), .FirstTap(Stages - 1)) u_row_taps (
      .clk_i, .rst_ni, .enable_i(advance), .word_i(accept && (outside_i ? outside_row_last_i : walk_tile_last)),
      .taps_o(row_last)
    );

    always_ff @(posedge clk_i) begin
      if (start_i) begin
        written_q <= target_i == Stream ? first_row_i : '0;
      end else if (row_last && advance && target == Stream) begin
        written_q <= written_q + (outside_i ? CountBits'(1) : CountBits'(Size));
      end
    end
    assign left_go   = !follow_i || (there_i >> RowBits) > left_tile;
    assign written_o = written_q;
  end else begin : gen_alone
    assign left_go   = 1'b1;
    assign written_o = '0;

    logic unused_follow;
    assign unused_follow = ^{follow_i, there_i, left_tile, outside_row_last_i, walk_tile_last};
  end

  logic unused;
  assign unused = ^{unused_right_tile, taps[WalkBits +: WalkBits], before_stream[WalkBits-2],
                    before_stream[RowBits+GroupBits+CountBits-1:0], fed_inner[CountBits-1:KBits+1],
                    fed_rows[RowBits-1:0], unused_inner, unused_right, unused_shift, unused_destination, table_i};

endmodule
