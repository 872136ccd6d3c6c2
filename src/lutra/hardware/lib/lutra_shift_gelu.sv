// ShiftGELU between the two products of a dense MLP: int8 in and out, in the order of an array's tiles.
//
// The sigmoid of a row needs the row's largest element, and the rows of a row of tiles end together. So a row of tiles
// is stored while its Size row maxima are found, and leaves, activated, while the next one is stored: two banks. Beats
// keep their order: tile by tile, in it row by row, in it Size / Lanes beats. column_tiles_i stays the same from the
// first beat of a product to its last; columns that fill up the last tile must be 0.
//
// Timing: as many beats per cycle as the array delivers. The first beat of a row of tiles is offered 41 - Skip cycles
// after the last one was taken, 2**Skip <= 2 * Unit; its other beats follow in every cycle.
module lutra_shift_gelu #(
  parameter int unsigned Size = 8,             // rows of a tile, a power of two from 2
  parameter int unsigned Lanes = 8,            // elements per beat, a power of two up to Size
  parameter int unsigned MaxTiles = 4,         // largest column_tiles_i
  parameter int unsigned TileBits = 8,         // bits of column_tiles_i
  parameter int unsigned Unit = 16,            // the integer that stands for about 1 in the exponent
  parameter int unsigned Shift = 23,           // bits below the binary point of the exponentials
  parameter int unsigned MultiplierBits = 16,  // bits of Multiplier
  parameter logic [MultiplierBits-1:0] Multiplier = '0,  // y = clamp((x * sigmoid * Multiplier + rounding) >> OutputShift)
  parameter int unsigned OutputShift = 22      // bits that requantising rounds away
) (
  input  logic                clk_i,           // clock
  input  logic                rst_ni,          // synchronous reset, active low
  input  logic [TileBits-1:0] column_tiles_i,  // tiles side by side, 1 to MaxTiles
  input  logic                valid_i,         // a beat is offered
  output logic                ready_o,         // it is taken
  input  logic [Lanes*8-1:0]  data_i,          // Lanes int8 of one row, the first in the lowest bits
  output logic                valid_o,         // a beat of activated elements is offered
  input  logic                ready_i,         // it is taken
  output logic [Lanes*8-1:0]  data_o           // the same elements, activated
);

  if (Size < 2 || (Size & (Size - 1)) != 0 || Lanes < 1 || (Lanes & (Lanes - 1)) != 0 || Lanes > Size || MaxTiles < 1 ||
      (MaxTiles >> TileBits) != 0) begin : gen_wrong
    $error("Size must be a power of two from 2, Lanes one up to Size, MaxTiles from 1 and within TileBits");
  end

  localparam int unsigned RowBits = $clog2(Size);
  localparam int unsigned PlaceBits = $clog2(Size / Lanes) + RowBits;  // of a beat in its tile: row, then group
  localparam int unsigned LowBits = PlaceBits - RowBits;
  localparam int unsigned AddressBits = PlaceBits + 1 + $clog2(MaxTiles);
  localparam int unsigned MantissaBits = $clog2(2 * Unit + 1);
  localparam int unsigned Skip = MantissaBits - 1;
  localparam int unsigned ValueBits = $clog2((Unit << Shift) + 1);
  localparam int unsigned Stages = 39 - Skip;  // from reading to the output register

  // Storing: two banks of beats, and the largest element of every row and 0.
  logic [PlaceBits-1:0] write_place_q, read_place_q;
  logic [TileBits-1:0]  write_tile_q, read_tile_q, last_tile;
  logic [1:0]           full_q, filled, freed;
  logic                 write_bank_q, read_bank_q, write, write_last, read_last;
  logic [RowBits-1:0]   write_row, read_row;

  assign last_tile  = column_tiles_i - 1'b1;
  assign ready_o    = !full_q[write_bank_q] || freed[write_bank_q];
  assign write      = valid_i && ready_o;
  assign write_last = write && write_place_q == '1 && write_tile_q == last_tile;
  assign write_row  = write_place_q[PlaceBits-1:LowBits];
  assign filled     = {write_last && write_bank_q, write_last && !write_bank_q};

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      write_place_q <= '0;
      write_tile_q  <= '0;
      write_bank_q  <= 1'b0;
      full_q        <= '0;
    end else begin
      if (write) begin
        write_place_q <= write_place_q + 1'b1;
        if (write_place_q == '1) begin
          write_tile_q <= write_last ? '0 : write_tile_q + 1'b1;
        end
      end
      write_bank_q <= write_bank_q ^ write_last;
      full_q       <= (full_q & ~freed) | filled;
    end
  end

  logic [Lanes*8-1:0]     x_1;
  logic [AddressBits-1:0] write_address, read_address;
  logic                   advance, issue;

  assign write_address = AddressBits'({write_tile_q, write_bank_q, write_place_q});
  assign read_address  = AddressBits'({read_tile_q, read_bank_q, read_place_q});

  lutra_memory #(.Words(MaxTiles*2*(2**PlaceBits)), .Bits(Lanes*8), .AddressBits(AddressBits)) u_memory (
    .clk_i, .write_i(write), .write_address_i(write_address), .data_i,
    .read_i(advance), .clear_i(1'b0), .read_address_i(read_address), .data_o(x_1)
  );

  // The largest element of a beat, by halves; then of the row.
  for (genvar k = Lanes; k > 0; k = k / 2) begin : gen_largest
    logic [k*7-1:0] largest;
    for (genvar l = 0; l < k; l++) begin : gen_lane
      if (k == Lanes) begin : gen_element
        assign largest[7*l +: 7] = data_i[8*l+7] ? 7'b0 : data_i[8*l +: 7];
      end else begin : gen_pair
        logic [6:0] one, other;
        assign one   = gen_largest[2*k].largest[14*l +: 7];
        assign other = gen_largest[2*k].largest[14*l+7 +: 7];
        assign largest[7*l +: 7] = one > other ? one : other;
      end
    end
  end

  logic               written_q, first_q;
  logic [RowBits:0]   row_q, row_1_q;
  logic [6:0]         beat_largest_q, so_far, largest_1;
  logic [2*Size*7-1:0] largest_q;

  lutra_mux #(.AddressBits(RowBits+1), .Width(7)) u_so_far (.address_i(row_q), .words_i(largest_q), .word_o(so_far));
  lutra_mux #(.AddressBits(RowBits+1), .Width(7)) u_largest (
    .address_i(row_1_q), .words_i(largest_q), .word_o(largest_1)
  );

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      written_q <= 1'b0;
    end else begin
      written_q <= write;
    end
    beat_largest_q <= gen_largest[1].largest;
    row_q          <= {write_bank_q, write_row};
    first_q        <= write_tile_q == '0 && write_place_q == (PlaceBits'(write_row) << LowBits);
    if (written_q && (first_q || beat_largest_q > so_far)) begin
      largest_q[7*row_q +: 7] <= beat_largest_q;
    end
  end

  // Reading. A bank is free once its last beat no longer needs the maxima.
  logic [Stages-1:0] valid_q;
  logic              last_1_q;

  assign issue     = advance && full_q[read_bank_q];
  assign read_last = issue && read_place_q == '1 && read_tile_q == last_tile;
  assign read_row  = read_place_q[PlaceBits-1:LowBits];
  assign freed     = {2{advance && valid_q[0] && last_1_q}} & {row_1_q[RowBits], !row_1_q[RowBits]};

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      read_place_q <= '0;
      read_tile_q  <= '0;
      read_bank_q  <= 1'b0;
      valid_q      <= '0;
    end else begin
      if (issue) begin
        read_place_q <= read_place_q + 1'b1;
        if (read_place_q == '1) begin
          read_tile_q <= read_last ? '0 : read_tile_q + 1'b1;
        end
      end
      read_bank_q <= read_bank_q ^ read_last;
      if (advance) begin
        valid_q <= {valid_q[Stages-2:0], issue};
      end
    end
    if (advance) begin
      row_1_q  <= {read_bank_q, read_row};
      last_1_q <= read_last;
    end
  end

  // The lanes. What depends on the row's maximum alone is computed once for all of them.
  logic [6:0]           largest_2_q;
  logic [ValueBits-1:0] rest;
  logic [Lanes*8-1:0]   y;

  always_ff @(posedge clk_i) begin
    if (advance) begin
      largest_2_q <= largest_1;
    end
  end

  logic unused_mantissa;
  logic [MantissaBits-1:0] rest_mantissa;
  logic [4:0]              rest_exponent;
  assign unused_mantissa = ^{rest_mantissa, rest_exponent};

  lutra_shift_exp #(.Unit(Unit), .Shift(Shift), .MantissaBits(MantissaBits), .ValueBits(ValueBits)) u_rest (
    .clk_i, .enable_i(advance), .difference_i({1'b0, largest_2_q}),
    .mantissa_o(rest_mantissa), .exponent_o(rest_exponent), .value_o(rest)
  );

  for (genvar l = 0; l < Lanes; l++) begin : gen_lane
    logic [7:0] x_2_q, difference_2_q;
    always_ff @(posedge clk_i) begin
      if (advance) begin
        x_2_q          <= x_1[8*l +: 8];
        difference_2_q <= {1'b0, largest_1} - x_1[8*l +: 8];
      end
    end
    lutra_shift_gelu_lane #(
      .Unit(Unit), .Shift(Shift), .MantissaBits(MantissaBits), .Skip(Skip), .ValueBits(ValueBits),
      .MultiplierBits(MultiplierBits), .Multiplier(Multiplier), .OutputShift(OutputShift)
    ) u_lane (
      .clk_i, .enable_i(advance), .x_i(x_2_q), .difference_i(difference_2_q), .rest_i(rest), .y_o(y[8*l +: 8])
    );
  end

  lutra_stream_register #(.Bits(Lanes*8)) u_output_register (
    .clk_i, .rst_ni, .valid_i(valid_q[Stages-1]), .ready_o(advance), .data_i(y), .valid_o, .ready_i, .data_o
  );

endmodule
