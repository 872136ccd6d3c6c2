// Layer norm of rows of the residual stream: reads them, passes them through the norm, packs what comes out into words
// of the left memory.
//
// Timing: start_i in t, first beat taken in t + 2; the last word is written, and done_o is 1, in t + norm_cycles + 2
// (units.py). With follow_i a row's first beat is taken in the second cycle after that in which there_i says that the row
// is there, at the earliest (timeline.py). written_o counts a row from the cycle after its last word's on.
module lutra_transformer_rows #(
  parameter int unsigned Size = 4,          // banks of the left memory, a power of two from 2
  parameter int unsigned Lanes = 4,         // values per word, a power of two
  parameter int unsigned NormLanes = 1,     // values per beat of the norm, a power of two up to Lanes
  parameter int unsigned Beats = 16,        // most beats of a row
  parameter int unsigned Rows = 8,          // rows of the longest sequence, a multiple of Size
  parameter int unsigned AddressBits = 24,  // bits of an address
  parameter int unsigned CountBits = 16     // bits of a count
) (
  input  logic                     clk_i,          // clock
  input  logic                     rst_ni,         // synchronous reset, active low
  input  logic                     start_i,        // begin; what follows stays the same until done_o
  input  logic [CountBits-1:0]     rows_i,         // rows, from 1
  input  logic [CountBits-1:0]     beats_i,        // beats of a row, from 1
  input  logic [10:0]              width_i,        // columns of the model
  input  logic [49:0]              epsilon_i,      // what keeps a variance from 0
  input  logic [4:0]               shift_i,        // bits that are rounded away
  input  logic [AddressBits-1:0]   constants_i,    // where gains and biases begin
  input  logic [AddressBits-1:0]   destination_i,  // where the first word goes
  output logic                     done_o,         // the last word is written
  input  logic                     follow_i,       // rows of the stream come one by one
  input  logic [CountBits-1:0]     there_i,        // so many are there
  output logic [CountBits-1:0]     written_o,      // rows that are written
  output logic                     stream_read_o,     // read the residual stream
  output logic [AddressBits-1:0]   stream_address_o,  // where
  input  logic [Lanes*16-1:0]      stream_data_i,     // in the next cycle
  output logic                     constant_read_o,     // read gains and biases
  output logic [AddressBits-1:0]   constant_address_o,  // where
  input  logic [NormLanes*48-1:0]  constant_data_i,     // in the next cycle
  output logic                     write_o,        // a word for the left memory
  output logic [$clog2(Size)-1:0]  bank_o,         // in which bank
  output logic [AddressBits-1:0]   address_o,      // where
  output logic [Lanes*8-1:0]       data_o          // the word
);

  if (Lanes % NormLanes != 0 || Rows % Size != 0) begin : gen_wrong
    $error("NormLanes must divide Lanes, Size must divide Rows");
  end

  localparam int unsigned RowBits = $clog2(Size);
  localparam int unsigned Phases = Lanes / NormLanes;
  localparam int unsigned PhaseBits = Phases > 1 ? $clog2(Phases) : 1;
  localparam int unsigned BeatBits = Beats > 1 ? $clog2(Beats) : 1;

  logic                    x_valid, x_ready, y_valid, unused_busy;
  logic [PhaseBits-1:0]    phase;
  logic [CountBits-1:0]    row;
  logic [NormLanes*16-1:0] x;
  logic [NormLanes*8-1:0]  y;
  logic [BeatBits-1:0]     constant_beat;

  lutra_transformer_feeder #(.AddressBits(AddressBits), .CountBits(CountBits), .Phases(Phases)) u_feeder (
    .clk_i, .rst_ni, .start_i, .repeats_i(CountBits'(1)), .tiles_i(rows_i), .inner_i(beats_i), .base_i('0),
    .tile_stride_i(AddressBits'(1)), .inner_stride_i(AddressBits'(Rows)), .phased_i(1'b1),
    .go_i(!follow_i || there_i > row), .tile_o(row), .busy_o(unused_busy), .read_o(stream_read_o),
    .address_o(stream_address_o), .phase_o(phase), .valid_o(x_valid), .ready_i(x_ready)
  );

  if (Phases > 1) begin : gen_phases
    lutra_mux #(.AddressBits(PhaseBits), .Width(NormLanes*16)) u_mux (
      .address_i(phase), .words_i(stream_data_i), .word_o(x)
    );
  end else begin : gen_whole_words
    logic unused_phase;
    assign unused_phase = ^phase;
    assign x = stream_data_i;
  end

  lutra_transformer_norm #(.Lanes(NormLanes), .Beats(Beats)) u_norm (
    .clk_i, .rst_ni, .beats_i(beats_i[BeatBits:0]), .width_i, .epsilon_i, .shift_i,
    .x_valid_i(x_valid), .x_ready_o(x_ready), .x_data_i(x),
    .constant_read_o, .constant_beat_o(constant_beat), .constant_data_i,
    .y_valid_o(y_valid), .y_data_o(y)
  );

  assign constant_address_o = constants_i + AddressBits'(constant_beat);

  // Words out of beats, and where they go.
  logic                   last_phase, last_beat, last_row;
  logic [CountBits-1:0]   row_q, beat_q;
  logic [AddressBits-1:0] offset_q;

  assign last_beat = beat_q == beats_i - 1'b1;
  assign last_row  = row_q == rows_i - 1'b1;

  if (Phases > 1) begin : gen_pack
    localparam int unsigned EarlierBits = (Lanes - NormLanes)*8;
    logic [EarlierBits-1:0] earlier_q;

    assign last_phase = beat_q[PhaseBits-1:0] == '1;
    always_ff @(posedge clk_i) begin
      if (y_valid) begin
        earlier_q <= EarlierBits'({y, earlier_q} >> (NormLanes*8));
        data_o    <= {y, earlier_q};
      end
    end
  end else begin : gen_whole
    assign last_phase = 1'b1;
    always_ff @(posedge clk_i) begin
      data_o <= y;
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      write_o <= 1'b0;
      done_o  <= 1'b0;
    end else begin
      write_o <= y_valid && last_phase;
      done_o  <= y_valid && last_beat && last_row;
    end
    if (start_i) begin
      row_q    <= '0;
      beat_q   <= '0;
      offset_q <= '0;
    end else if (y_valid) begin
      beat_q   <= last_beat ? '0 : beat_q + 1'b1;
      row_q    <= row_q + CountBits'(last_beat);
      offset_q <= last_beat ? '0 : last_phase ? offset_q + AddressBits'(Rows / Size) : offset_q;
    end
    written_o <= start_i ? '0 : row_q;
    bank_o    <= row_q[RowBits-1:0];
    address_o <= destination_i + offset_q + AddressBits'(row_q >> RowBits);
  end

  logic unused_beats;
  assign unused_beats = ^beats_i[CountBits-1:BeatBits+1];

endmodule
