// Softmax of a tile of rows, not normalised: exponentials of scores, and for each row the reciprocal of their sum.
//
// Scores come in any order and are stored while the largest one of each row is found. The second pass reads row by row:
// distances from the largest score select exponentials in a table, whose sum goes through a serial reciprocal. A row
// sees the keys below its limit; the scores of the others may be anything.
//
// With Overlap scores of one tile come while the second pass of the one before runs, and the reciprocals of a third one
// can be read: two tiles are kept of everything, in turn. What a tile is then counts with clear_i, and clear_i of a tile,
// scored_i behind its last score, its second pass and used_i behind the last reading of its reciprocals come in this
// order, of tile after tile; clear_i at the earliest with done_o of the tile before the last.
//
// Timing: start_i in cycle t, at least two cycles after the last store_i. Row r begins in cycle t + 1 + r * R,
// R = max(chunks_i, 18), and leaves three cycles later, a beat per cycle; done_o in cycle t + (rows_i - 1) * R + chunks_i +
// 23 + max(1, ceil(log2(Lanes) / 2)).
module lutra_transformer_softmax #(
  parameter int unsigned Size = 4,                                             // rows, a power of two from 2
  parameter int unsigned Lanes = 4,                                            // keys of a beat, a power of two
  parameter int unsigned Keys = 64,                                            // most keys, a multiple of Lanes
  parameter bit          Overlap = 0,                                          // two tiles are kept
  parameter int unsigned ChunkBits = Keys > Lanes ? $clog2(Keys / Lanes) : 1,  // of a chunk's number
  parameter int unsigned RowBits = $clog2(Size),                               // of a row's number
  parameter int unsigned KeyBits = $clog2(Keys + 1)                            // of a number of keys
) (
  input  logic                 clk_i,            // clock
  input  logic                 rst_ni,           // synchronous reset, active low
  input  logic                 table_write_i,    // store an exponential; not during a second pass
  input  logic [7:0]           table_address_i,  // of this distance
  input  logic [6:0]           table_data_i,     // the exponential
  input  logic                 causal_i,         // each row sees one key more; from clear_i to done_o as the next three
  input  logic [KeyBits-1:0]   first_limit_i,    // keys that row 0 sees, from 1
  input  logic [RowBits:0]     rows_i,           // rows of the second pass, from 1
  input  logic [ChunkBits:0]   chunks_i,         // its beats of a row, from 1
  input  logic                 clear_i,          // a new tile; scores may follow
  input  logic                 scored_i,         // with Overlap: its last score has come
  input  logic                 store_i,          // scores_i is a beat
  input  logic [RowBits-1:0]   store_row_i,      // of this row
  input  logic [ChunkBits-1:0] store_chunk_i,    // of the keys from store_chunk_i * Lanes on
  input  logic [Lanes*16-1:0]  scores_i,         // int16
  input  logic                 start_i,          // begin the second pass
  output logic                 e_valid_o,        // e_data_o is a beat
  output logic                 e_bank_o,         // with Overlap: of which of two tiles
  output logic [RowBits-1:0]   e_row_o,          // of this row
  output logic [ChunkBits-1:0] e_chunk_o,        // of the keys from e_chunk_o * Lanes on
  output logic [Lanes*8-1:0]   e_data_o,         // exponentials, of which bit 7 is 0
  output logic                 done_o,           // the last reciprocal can be read
  input  logic                 used_i,           // with Overlap: the reciprocals of a tile have been read
  input  logic                 factor_read_i,    // show another row's reciprocal, in the next cycle
  input  logic [RowBits-1:0]   factor_row_i,     // which
  output logic [16:0]          factor_o,         // reciprocal of the row's sum, up to 2**16
  output logic [5:0]           exponent_o        // the place of the sum's leading one
);

  if (Size < 2 || (Size & (Size - 1)) != 0 || Lanes < 1 || (Lanes & (Lanes - 1)) != 0 || Lanes > 256 ||
      Keys < 1 || Keys > 1024 || Keys % Lanes != 0 || 2**ChunkBits < Keys / Lanes || RowBits != $clog2(Size) ||
      2**KeyBits <= Keys) begin : gen_wrong
    $error("Size and Lanes must be powers of two (from 2; to 256), Keys a multiple of Lanes to 1024, and the bits fit");
  end

  localparam int unsigned LimitBits = 1 + (KeyBits > RowBits ? KeyBits : RowBits);
  localparam int unsigned Levels = $clog2(Lanes);
  localparam int unsigned Tree = Levels > 2 ? (Levels + 1) / 2 : 1;  // stages of an adder tree
  localparam int unsigned Stages = 3;                                // from reading a score to its exponential
  localparam int unsigned Total = Stages + Tree;                     // to the sum of a beat's exponentials
  localparam logic [4:0]  Interval = 5'd18;                          // of the reciprocal

  function automatic logic [Lanes-1:0] visible_of(
    input logic [RowBits-1:0] row, input logic [ChunkBits-1:0] chunk, input logic causal, input logic [KeyBits-1:0] first
  );
    logic [LimitBits-1:0] limit;
    limit = LimitBits'(first) + (causal ? LimitBits'(row) : '0);
    for (int unsigned l = 0; l < Lanes; l++) begin
      visible_of[l] = LimitBits'(32'(chunk) * Lanes + l) < limit;
    end
  endfunction

  // Tiles: which one is stored, and what is known of it; which one is in its second pass, and whose reciprocals are read.
  localparam int unsigned Banks = Overlap ? 2 : 1;
  localparam int unsigned BankBits = Overlap ? 1 : 0;
  localparam int unsigned StoredBits = BankBits + RowBits;  // of a row's number among all tiles
  logic                  store_bank, pass_bank, used_bank;
  logic [Banks-1:0]      clear;
  logic [KeyBits-1:0]    store_limit, pass_limit;
  logic [RowBits:0]      pass_rows;
  logic [ChunkBits:0]    pass_chunks;
  logic [StoredBits-1:0] store_row, pass_row, pass_row_1, used_row, factor_row;
  logic [RowBits-1:0]    row_q;              // of the second pass: that is read,
  logic [RowBits-1:0]    rows_q [1:Stages];  // and those behind it
  logic [RowBits:0]      factors_q;          // rows whose reciprocals are stored

  assign e_bank_o = pass_bank;

  if (Overlap) begin : gen_two
    localparam int unsigned KnownBits = KeyBits + RowBits + 1 + ChunkBits + 1;
    logic                 clear_bank_q, store_bank_q, pass_bank_q, used_bank_q;
    logic [KnownBits-1:0] known_q [0:1];
    logic [RowBits:0]     unused_rows;
    logic [ChunkBits:0]   unused_chunks;

    always_ff @(posedge clk_i) begin
      if (!rst_ni) begin
        clear_bank_q <= 1'b0;
        store_bank_q <= 1'b0;
        pass_bank_q  <= 1'b0;
        used_bank_q  <= 1'b0;
      end else begin
        clear_bank_q <= clear_bank_q ^ clear_i;
        store_bank_q <= store_bank_q ^ scored_i;
        pass_bank_q  <= pass_bank_q ^ done_o;
        used_bank_q  <= used_bank_q ^ used_i;
      end
      if (clear_i) begin
        known_q[clear_bank_q] <= {first_limit_i, rows_i, chunks_i};
      end
    end
    assign clear      = {clear_i && clear_bank_q, clear_i && !clear_bank_q};
    assign store_bank = store_bank_q;
    assign pass_bank  = pass_bank_q;
    assign used_bank  = used_bank_q;
    assign {store_limit, unused_rows, unused_chunks} = known_q[store_bank_q];
    assign {pass_limit, pass_rows, pass_chunks}      = known_q[pass_bank_q];
    assign store_row  = {store_bank, store_row_i};
    assign pass_row   = {pass_bank, row_q};
    assign pass_row_1 = {pass_bank, rows_q[1]};
    assign factor_row = {pass_bank, factors_q[RowBits-1:0]};
    assign used_row   = {used_bank, factor_row_i};

    logic unused;
    assign unused = ^{unused_rows, unused_chunks};
  end else begin : gen_one
    assign clear       = clear_i;
    assign store_bank  = 1'b0;
    assign pass_bank   = 1'b0;
    assign used_bank   = 1'b0;
    assign store_limit = first_limit_i;
    assign pass_limit  = first_limit_i;
    assign pass_rows   = rows_i;
    assign pass_chunks = chunks_i;
    assign store_row   = store_row_i;
    assign pass_row    = row_q;
    assign pass_row_1  = rows_q[1];
    assign factor_row  = factors_q[RowBits-1:0];
    assign used_row    = factor_row_i;

    logic unused;
    assign unused = ^{scored_i, used_i, store_bank, used_bank};
  end

  // Second pass: which beat is read.
  logic                 active_q, chunks_left_q, issue, row_ends;
  logic [ChunkBits-1:0] chunk_q, last_chunk;
  logic [4:0]           wait_q;  // cycles until the next row may begin

  assign issue      = active_q && chunks_left_q;
  assign last_chunk = ChunkBits'(pass_chunks - 1'b1);
  assign row_ends   = active_q && (!chunks_left_q || chunk_q == last_chunk) && wait_q == '0;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      active_q <= 1'b0;
    end else begin
      active_q <= start_i || (active_q && !(row_ends && {1'b0, row_q} == pass_rows - 1'b1));
    end
    if (start_i || row_ends) begin
      row_q         <= start_i ? '0 : row_q + 1'b1;
      chunk_q       <= '0;
      chunks_left_q <= 1'b1;
      wait_q        <= Interval - 1'b1;
    end else begin
      if (issue) begin
        chunk_q       <= chunk_q + 1'b1;
        chunks_left_q <= chunk_q != last_chunk;
      end
      if (wait_q != '0) begin
        wait_q <= wait_q - 1'b1;
      end
    end
  end

  // What is stored: scores, and the largest of each row.
  logic [Lanes*16-1:0] scores_1;
  logic [15:0]         max_1;
  logic [Total:1]      valid_q, first_q, last_q;
  logic [ChunkBits-1:0] chunks_q [1:Stages];

  lutra_memory #(
    .Words(Banks*Size*(2**ChunkBits)), .Bits(Lanes*16), .AddressBits(StoredBits+ChunkBits)
  ) u_scores (
    .clk_i, .write_i(store_i), .write_address_i({store_row, store_chunk_i}), .data_i(scores_i),
    .read_i(issue), .clear_i(1'b0), .read_address_i({pass_row, chunk_q}), .data_o(scores_1)
  );
  lutra_transformer_softmax_max #(.Size(Size), .Lanes(Lanes), .Banks(Banks), .RowBits(StoredBits)) u_max (
    .clk_i,
    .rst_ni,
    .clear_i(clear),
    .store_i,
    .store_row_i(store_row),
    .visible_i(visible_of(store_row_i, store_chunk_i, causal_i, store_limit)),
    .scores_i,
    .read_i(valid_q[1]),
    .row_i(pass_row_1),
    .max_o(max_1)
  );

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      valid_q <= '0;
    end else begin
      valid_q <= {valid_q[Total-1:1], issue};
    end
    first_q <= {first_q[Total-1:1], chunk_q == '0};
    last_q  <= {last_q[Total-1:1], chunk_q == last_chunk};
    for (int unsigned s = 1; s <= Stages; s++) begin
      rows_q[s]   <= s == 1 ? row_q : rows_q[s-1];
      chunks_q[s] <= s == 1 ? chunk_q : chunks_q[s-1];
    end
  end

  assign e_valid_o = valid_q[Stages];
  assign e_row_o   = rows_q[Stages];
  assign e_chunk_o = chunks_q[Stages];

  logic [Lanes-1:0] visible_1;
  assign visible_1 = visible_of(rows_q[1], chunks_q[1], causal_i, pass_limit);

  for (genvar l = 0; l < Lanes; l++) begin : gen_lane
    lutra_transformer_softmax_lane u_lane (
      .clk_i,
      .table_write_i,
      .table_address_i,
      .table_data_i,
      .enable_i(valid_q[1]),
      .visible_i(visible_1[l]),
      .score_i(scores_1[16*l +: 16]),
      .max_i(max_1),
      .exponential_o(e_data_o[8*l +: 7])
    );
    assign e_data_o[8*l+7] = 1'b0;
  end

  // The sum of a row, and its reciprocal.
  logic [17:0]      beat_sum, sum_q;
  logic             sum_done_q, factor_done;
  logic [16:0]      factor;
  logic [5:0]       exponent;

  lutra_adder_tree #(.Terms(Lanes), .Bits(8), .SumBits(18)) u_sum (
    .clk_i, .enable_i(1'b1), .terms_i(e_data_o), .sum_o(beat_sum)
  );
  lutra_transformer_reciprocal #(.ValueBits(17)) u_reciprocal (
    .clk_i, .rst_ni, .start_i(sum_done_q), .value_i(sum_q[16:0]), .done_o(factor_done), .factor_o(factor),
    .exponent_o(exponent)
  );
  lutra_lut_memory #(.Words(Banks*Size), .Bits(23), .AddressBits(StoredBits)) u_factors (
    .clk_i, .write_i(factor_done), .write_address_i(factor_row), .data_i({exponent, factor}),
    .read_i(factor_read_i), .read_address_i(used_row), .data_o({exponent_o, factor_o})
  );

  logic unused_sign;
  assign unused_sign = sum_q[17];

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      sum_done_q <= 1'b0;
      done_o     <= 1'b0;
    end else begin
      sum_done_q <= valid_q[Total] && last_q[Total];
      done_o     <= factor_done && factors_q == pass_rows - 1'b1;
    end
    if (valid_q[Total]) begin
      sum_q <= (first_q[Total] ? '0 : sum_q) + beat_sum;
    end
    if (start_i) begin
      factors_q <= '0;
    end else if (factor_done) begin
      factors_q <= factors_q + 1'b1;
    end
  end

endmodule
