// The layer norm of a module with its gains and biases, between the buffers that change the number of lanes. Its rows
// leave twice: to memory, and to the quantisation unit if the step stores codes.
//
// Timing: see lutra_bat_norm and lutra_bat_gearbox.
module lutra_bat_normalise #(
  parameter int unsigned InLanes = 4,          // of a beat that comes
  parameter int unsigned Lanes = 2,            // of the layer norm
  parameter int unsigned OutLanes = 4,         // of a beat for the quantisation unit
  parameter int unsigned BeatBits = 6,         // of beats of a row of the layer norm
  parameter int unsigned WidthBits = 7,        // log2 of the widest row
  parameter int unsigned FifoBits = 7,         // see lutra_bat_norm
  parameter int unsigned InGranule = 2,        // greatest common divisors of lanes
  parameter int unsigned OutGranule = 2,
  parameter int unsigned MemoryGranule = 2,
  parameter int unsigned InBlocks = 1,         // blocks of a row, see lutra_bat_gearbox
  parameter int unsigned OutBlocks = 1,
  parameter int unsigned MemoryBlocks = 1,
  parameter int unsigned PartBits = 8,         // of the number of a beat in a word
  parameter              RootFile = "bat_root.hex"  // see lutra_bat_norm
) (
  input  logic                   clk_i,          // clock
  input  logic                   rst_ni,         // synchronous reset, active low
  input  logic                   bank_i,         // bank of the step of step_i
  input  logic [1023:0]          step_i,         // its instruction
  input  logic                   load_gain_i,    // write a part of a word of gains
  input  logic                   load_bias_i,    // write a part of a word of biases
  input  logic                   load_bank_i,    // into this bank
  input  logic [15:0]            load_word_i,    // word
  input  logic [PartBits-1:0]    load_part_i,    // its 128 bits
  input  logic [127:0]           load_data_i,    // what is written
  input  logic                   valid_i,        // a beat is offered
  output logic                   ready_o,        // it is taken
  input  logic [InLanes*16-1:0]  data_i,         // binary16 numbers
  output logic                   valid_o,        // a beat for the quantisation unit is offered
  input  logic                   ready_i,        // it is taken
  output logic [OutLanes*16-1:0] data_o,         // binary16 numbers
  output logic                   write_valid_o,  // a beat for memory is offered
  input  logic                   write_ready_i,  // it is taken
  output logic [127:0]           write_data_o,   // eight binary16 numbers
  output logic                   error_o         // since the reset a number left the range
);

  localparam int unsigned CountBits = 14;
  localparam int unsigned LaneBits = 9;

  // Fields of the instruction.
  logic                 store;
  logic [CountBits-1:0] vector_beats, quantise_beats, beats, row_beats;
  logic [LaneBits-1:0]  last_lanes;
  logic [11:0]          width;
  logic [31:0]          epsilon;

  assign store          = step_i[15];
  assign vector_beats   = step_i[18*16 +: CountBits];
  assign quantise_beats = step_i[21*16 +: CountBits];
  assign beats          = step_i[27*16 +: CountBits];
  assign last_lanes     = step_i[28*16 +: LaneBits];
  assign width          = step_i[29*16 +: 12];
  assign epsilon        = step_i[30*16 +: 32];
  assign row_beats      = step_i[40*16 +: CountBits];

  logic                in_valid, in_ready, norm_valid, codes_ready, memory_ready;
  logic [Lanes*16-1:0] in_data, norm_data, gain, bias;
  logic [BeatBits-1:0] gain_address, bias_address;

  lutra_bat_gearbox #(
    .InLanes(InLanes), .OutLanes(Lanes), .Bits(16), .Granule(InGranule), .Blocks(InBlocks),
    .OutStep(Lanes / InGranule), .CountBits(CountBits)
  ) u_in (
    .clk_i, .rst_ni, .in_segments_i(2'd1), .in_beats_i(vector_beats), .in_stride_i('0),
    .out_segments_i(2'd1), .out_beats_i(beats), .out_stride_i('0), .out_offset_i('0),
    .valid_i, .ready_o, .data_i, .valid_o(in_valid), .ready_i(in_ready), .data_o(in_data)
  );

  lutra_bat_parameters #(.Bits(Lanes * 16), .AddressBits(BeatBits), .PartBits(PartBits)) u_gains (
    .clk_i, .write_i(load_gain_i), .write_bank_i(load_bank_i), .write_address_i(load_word_i[BeatBits-1:0]),
    .part_i(load_part_i), .data_i(load_data_i), .read_bank_i(bank_i), .read_address_i(gain_address), .data_o(gain)
  );
  lutra_bat_parameters #(.Bits(Lanes * 16), .AddressBits(BeatBits), .PartBits(PartBits)) u_biases (
    .clk_i, .write_i(load_bias_i), .write_bank_i(load_bank_i), .write_address_i(load_word_i[BeatBits-1:0]),
    .part_i(load_part_i), .data_i(load_data_i), .read_bank_i(bank_i), .read_address_i(bias_address), .data_o(bias)
  );

  lutra_bat_norm #(
    .Lanes(Lanes),
    .BeatBits(BeatBits),
    .LaneBits(LaneBits),
    .CountBits(WidthBits),
    .AddressBits(FifoBits),
    .RootFile(RootFile)
  ) u_norm (
    .clk_i,
    .rst_ni,
    .beats_i(beats[BeatBits-1:0]),
    .last_lanes_i(last_lanes),
    .width_i(width),
    .epsilon_i(epsilon),
    .valid_i(in_valid),
    .ready_o(in_ready),
    .data_i(in_data),
    .gain_address_o(gain_address),
    .gain_i(gain),
    .bias_address_o(bias_address),
    .bias_i(bias),
    .valid_o(norm_valid),
    .ready_i(memory_ready && (codes_ready || !store)),
    .data_o(norm_data),
    .error_o
  );

  lutra_bat_gearbox #(
    .InLanes(Lanes), .OutLanes(OutLanes), .Bits(16), .Granule(OutGranule), .Blocks(OutBlocks),
    .OutStep(OutLanes / OutGranule), .CountBits(CountBits)
  ) u_codes (
    .clk_i, .rst_ni, .in_segments_i(2'd1), .in_beats_i(beats), .in_stride_i('0),
    .out_segments_i(2'd1), .out_beats_i(quantise_beats), .out_stride_i('0), .out_offset_i('0),
    .valid_i(norm_valid && store && memory_ready), .ready_o(codes_ready), .data_i(norm_data),
    .valid_o, .ready_i, .data_o
  );
  lutra_bat_gearbox #(
    .InLanes(Lanes), .OutLanes(8), .Bits(16), .Granule(MemoryGranule), .Blocks(MemoryBlocks),
    .OutStep(8 / MemoryGranule), .CountBits(CountBits)
  ) u_memory (
    .clk_i, .rst_ni, .in_segments_i(2'd1), .in_beats_i(beats), .in_stride_i('0),
    .out_segments_i(2'd1), .out_beats_i(row_beats), .out_stride_i('0), .out_offset_i('0),
    .valid_i(norm_valid && (codes_ready || !store)), .ready_o(memory_ready), .data_i(norm_data),
    .valid_o(write_valid_o), .ready_i(write_ready_i), .data_o(write_data_o)
  );

  logic unused;

  assign unused = ^{step_i, load_word_i, beats};

endmodule
