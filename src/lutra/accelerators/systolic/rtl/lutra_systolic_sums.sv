// Output-stationary systolic array for (M x K)(K x P) int8 matrix products, whose sums leave as they are.
//
// The product is cut into tiles of Size x Size results, row of tiles by row of tiles. For each row of tiles the stream a
// brings Size rows of the left matrix once, K beats of one value per row; for each tile the stream b brings Size columns
// of the right matrix, K beats of one value per column. Both are buffered twice, so that the operands of the next tile
// are loaded while one is computed. Results leave tile by tile and row by row, Groups = Size / Lanes beats per row.
// Rows and columns that fill up the last tiles are computed like all others. inner_i and column_tiles_i stay the
// same from the first beat of a product to its last; with Overlap from its first operands to its last ones alone, so
// that those of the next product, of another shape, load behind it.
//
// Pipelined, the elements have two register stages more, for clocks at which a product and an addition do not fit into
// one cycle.
//
// Timing: without stalls a tile takes T = max(K, Size + Pipelined) cycles, but not less than Size * Groups; the whole
// takes K + T + Size + Size * Groups + 2 + 2 * Pipelined cycles for one tile and as many more as a tile takes for each
// further one.
module lutra_systolic_sums #(
  parameter int unsigned Size = 8,             // rows and columns of the array, a power of two from 2
  parameter int unsigned Depth = 256,          // largest K, a power of two from 2
  parameter int unsigned Lanes = 8,            // results per output beat, a power of two up to Size
  parameter int unsigned SumBits = 32,         // bits of a sum, more than 16
  parameter int unsigned TileBits = 8,         // bits of column_tiles_i
  parameter bit          Pipelined = 0,        // two register stages more in every element
  parameter bit          Overlap = 0           // products may follow each other without waiting for results
) (
  input  logic                       clk_i,           // clock
  input  logic                       rst_ni,          // synchronous reset, active low
  input  logic [$clog2(Depth):0]     inner_i,         // K, 1 to Depth
  input  logic [TileBits-1:0]        column_tiles_i,  // P / Size, rounded up, from 1
  input  logic                       a_valid_i,       // a beat of the left matrix is offered
  output logic                       a_ready_o,       // it is taken
  input  logic [Size*8-1:0]          a_data_i,        // one int8 per row of the tile, row 0 in the lowest bits
  input  logic                       b_valid_i,       // a beat of the right matrix is offered
  output logic                       b_ready_o,       // it is taken
  input  logic [Size*8-1:0]          b_data_i,        // one int8 per column of the tile, column 0 in the lowest bits
  output logic                       y_valid_o,       // a beat of results is offered
  input  logic                       y_ready_i,       // it is taken
  output logic [Lanes*SumBits-1:0]   y_data_o         // Lanes sums of one row, the first in the lowest bits
);

  if (Size < 2 || (Size & (Size - 1)) != 0 || Depth < 2 || (Depth & (Depth - 1)) != 0 || Lanes < 1 ||
      (Lanes & (Lanes - 1)) != 0 || Lanes > Size) begin : gen_wrong
    $error("Size and Depth must be powers of two from 2, Lanes one up to Size");
  end

  localparam int unsigned KBits = $clog2(Depth);
  localparam int unsigned RowBits = $clog2(Size);
  localparam int unsigned Groups = Size / Lanes;
  localparam int unsigned GroupBits = Groups > 1 ? $clog2(Groups) : 1;

  // Loading and control.
  logic             a_write, a_full, a_bank, a_release, b_write, b_full, b_bank, b_release;
  logic [KBits:0]   a_address, b_address, inner;
  logic [TileBits-1:0] column_tiles;
  logic             read, restart, take, stored, issue, issued;
  logic [KBits-1:0] k;
  logic [RowBits:0] place, read_place;
  logic [GroupBits-1:0] group;

  lutra_systolic_loader #(.AddressBits(KBits+1), .InnerBits(KBits+1)) u_loader_a (
    .clk_i, .rst_ni, .inner_i, .valid_i(a_valid_i), .ready_o(a_ready_o), .write_o(a_write), .address_o(a_address),
    .release_i(a_release), .full_o(a_full), .read_bank_o(a_bank)
  );
  lutra_systolic_loader #(.AddressBits(KBits+1), .InnerBits(KBits+1)) u_loader_b (
    .clk_i, .rst_ni, .inner_i, .valid_i(b_valid_i), .ready_o(b_ready_o), .write_o(b_write), .address_o(b_address),
    .release_i(b_release), .full_o(b_full), .read_bank_o(b_bank)
  );
  lutra_systolic_controller #(
    .Size(Size), .RowBits(RowBits), .Groups(Groups), .GroupBits(GroupBits), .KBits(KBits), .InnerBits(KBits+1),
    .TileBits(TileBits), .Pipelined(Pipelined)
  ) u_controller (
    .clk_i, .rst_ni, .inner_i(inner), .column_tiles_i(column_tiles),
    .a_full_i(a_full), .b_full_i(b_full), .a_release_o(a_release), .b_release_o(b_release),
    .read_o(read), .restart_o(restart), .k_o(k), .take_o(take), .place_o(place),
    .stored_i(stored), .issue_i(issue), .issue_o(issued), .read_place_o(read_place), .group_o(group)
  );

  // The shape of the product that is computed.
  if (Overlap) begin : gen_shapes
    logic [KBits:0]      inner_q [0:1];         // of the rows in each bank of a
    logic [TileBits-1:0] column_tiles_q [0:1];

    always_ff @(posedge clk_i) begin
      if (a_write) begin
        inner_q[a_address[KBits]]        <= inner_i;
        column_tiles_q[a_address[KBits]] <= column_tiles_i;
      end
    end
    assign inner        = inner_q[a_bank];
    assign column_tiles = column_tiles_q[a_bank];
  end else begin : gen_shape
    assign inner        = inner_i;
    assign column_tiles = column_tiles_i;
  end

  // Lane 0 of each edge gets the controller's signals, every other lane those of the lane before. The restart travels
  // with a alone.
  for (genvar i = 0; i < Size; i++) begin : gen_lane
    logic           a_read, a_restart, a_read_next, a_restart_next;
    logic           b_read, b_read_next, b_restart_next, unused_restart;
    logic [KBits:0] a_place, a_place_next, b_place, b_place_next;
    logic [7:0]     a, b;
    if (i == 0) begin : gen_first
      assign a_read    = read;
      assign a_restart = restart;
      assign a_place   = {a_bank, k};
      assign b_read    = read;
      assign b_place   = {b_bank, k};
    end else begin : gen_next
      assign a_read    = gen_lane[i-1].a_read_next;
      assign a_restart = gen_lane[i-1].a_restart_next;
      assign a_place   = gen_lane[i-1].a_place_next;
      assign b_read    = gen_lane[i-1].b_read_next;
      assign b_place   = gen_lane[i-1].b_place_next;
    end
    lutra_systolic_edge #(.Depth(Depth), .AddressBits(KBits+1)) u_edge_a (
      .clk_i, .rst_ni, .write_i(a_write), .write_address_i(a_address), .operand_i(a_data_i[8*i +: 8]),
      .read_i(a_read), .restart_i(a_restart), .address_i(a_place),
      .read_o(a_read_next), .restart_o(a_restart_next), .address_o(a_place_next), .operand_o(a)
    );
    lutra_systolic_edge #(.Depth(Depth), .AddressBits(KBits+1)) u_edge_b (
      .clk_i, .rst_ni, .write_i(b_write), .write_address_i(b_address), .operand_i(b_data_i[8*i +: 8]),
      .read_i(b_read), .restart_i(1'b0), .address_i(b_place),
      .read_o(b_read_next), .restart_o(b_restart_next), .address_o(b_place_next), .operand_o(b)
    );
    assign unused_restart = b_restart_next;
  end

  logic unused_last_lane;
  assign unused_last_lane = ^{gen_lane[Size-1].a_read_next, gen_lane[Size-1].a_place_next,
                              gen_lane[Size-1].b_read_next, gen_lane[Size-1].b_place_next};

  // The array: columns from left to right, each with its results.
  logic [Size*SumBits-1:0] row;
  logic [Size-1:0]         first_stored;  // per column: its first row is being stored

  for (genvar j = 0; j < Size; j++) begin : gen_column
    logic [Size-1:0]    restarts, restarts_next;
    logic [Size*8-1:0]  operands, operands_next;
    logic               write, write_next;
    logic [RowBits:0]   to, to_next;
    logic [SumBits-1:0] sum;
    if (j == 0) begin : gen_first
      for (genvar i = 0; i < Size; i++) begin : gen_row
        assign restarts[i] = gen_lane[i].a_restart_next;
        assign operands[8*i +: 8] = gen_lane[i].a;
      end
      assign write = take;
      assign to    = place;
    end else begin : gen_next
      assign restarts = gen_column[j-1].restarts_next;
      assign operands = gen_column[j-1].operands_next;
      assign write    = gen_column[j-1].write_next;
      assign to       = gen_column[j-1].to_next;
    end
    lutra_systolic_column #(.Size(Size), .RowBits(RowBits), .SumBits(SumBits), .Pipelined(Pipelined)) u_column (
      .clk_i, .restart_i(restarts), .a_i(operands), .b_i(gen_lane[j].b),
      .restart_o(restarts_next), .a_o(operands_next), .row_i(to[RowBits-1:0]), .sum_o(sum)
    );
    lutra_systolic_result #(.Size(Size), .RowBits(RowBits), .SumBits(SumBits), .Pipelined(Pipelined)) u_result (
      .clk_i, .rst_ni, .write_i(write), .place_i(to), .sum_i(sum), .write_o(write_next), .place_o(to_next),
      .first_o(first_stored[j]), .read_i(issued), .read_place_i(read_place), .sum_o(row[SumBits*j +: SumBits])
    );
  end

  assign stored = first_stored[Size-1];

  logic unused_first_stored;
  assign unused_first_stored = ^first_stored[Size-2:0];

  logic unused_last_column;
  assign unused_last_column = ^{gen_column[Size-1].restarts_next, gen_column[Size-1].operands_next,
                                gen_column[Size-1].write_next, gen_column[Size-1].to_next};

  // Output: the sums of one row wait in the result memories' registers until the beat is taken.
  logic                 beat_valid_q;
  logic [GroupBits-1:0] group_q;

  assign issue     = !beat_valid_q || y_ready_i;
  assign y_valid_o = beat_valid_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      beat_valid_q <= 1'b0;
    end else if (issue) begin
      beat_valid_q <= issued;
    end
    if (issued) begin
      group_q <= group;
    end
  end

  if (Groups > 1) begin : gen_groups
    lutra_mux #(.AddressBits(GroupBits), .Width(Lanes*SumBits)) u_mux (
      .address_i(group_q), .words_i(row), .word_o(y_data_o)
    );
  end else begin : gen_whole_row
    logic unused_group;
    assign unused_group = ^group_q;
    assign y_data_o = row;
  end

endmodule
