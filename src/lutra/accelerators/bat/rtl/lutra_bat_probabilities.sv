// The softmax of a module between the buffers that change the number of lanes: scores in, probabilities out.
//
// Timing: see lutra_bat_softmax and lutra_bat_gearbox.
module lutra_bat_probabilities #(
  parameter int unsigned InLanes = 4,             // of a beat of scores
  parameter int unsigned Lanes = 4,               // of the softmax
  parameter int unsigned OutLanes = 4,            // of a beat of probabilities
  parameter int unsigned BeatBits = 5,            // of beats of a row of the softmax
  parameter int unsigned TokenBits = 5,           // log2 of the longest row
  parameter int unsigned FifoBits = 6,            // see lutra_bat_softmax
  parameter int unsigned InGranule = 4,           // greatest common divisors of lanes
  parameter int unsigned OutGranule = 4,
  parameter int unsigned InBlocks = 1,            // blocks of a row, see lutra_bat_gearbox
  parameter int unsigned OutBlocks = 1,
  parameter              ExpFile = "bat_exp.hex",               // see lutra_bat_softmax
  parameter              ReciprocalFile = "bat_reciprocal.hex"  // see lutra_bat_softmax
) (
  input  logic                   clk_i,    // clock
  input  logic                   rst_ni,   // synchronous reset, active low
  input  logic [1023:0]          step_i,   // instruction of the step that runs
  input  logic                   valid_i,  // a beat of scores is offered
  output logic                   ready_o,  // it is taken
  input  logic [InLanes*16-1:0]  data_i,   // binary16 numbers
  output logic                   valid_o,  // a beat of probabilities is offered
  input  logic                   ready_i,  // it is taken
  output logic [OutLanes*16-1:0] data_o    // binary16 numbers
);

  localparam int unsigned CountBits = 14;
  localparam int unsigned LaneBits = 9;

  // Fields of the instruction.
  logic [CountBits-1:0] vector_beats, quantise_beats, beats;
  logic [LaneBits-1:0]  last_lanes;

  assign vector_beats   = step_i[18*16 +: CountBits];
  assign quantise_beats = step_i[21*16 +: CountBits];
  assign beats          = step_i[25*16 +: CountBits];
  assign last_lanes     = step_i[26*16 +: LaneBits];

  logic                scores_valid, scores_ready, softmax_valid, softmax_ready;
  logic [Lanes*16-1:0] scores, probabilities;

  lutra_bat_gearbox #(
    .InLanes(InLanes), .OutLanes(Lanes), .Bits(16), .Granule(InGranule), .Blocks(InBlocks),
    .OutStep(Lanes / InGranule), .CountBits(CountBits)
  ) u_scores (
    .clk_i, .rst_ni, .in_segments_i(2'd1), .in_beats_i(vector_beats), .in_stride_i('0),
    .out_segments_i(2'd1), .out_beats_i(beats), .out_stride_i('0), .out_offset_i('0),
    .valid_i, .ready_o, .data_i, .valid_o(scores_valid), .ready_i(scores_ready), .data_o(scores)
  );

  lutra_bat_softmax #(
    .Lanes(Lanes),
    .BeatBits(BeatBits),
    .LaneBits(LaneBits),
    .CountBits(TokenBits),
    .AddressBits(FifoBits),
    .ExpFile(ExpFile),
    .ReciprocalFile(ReciprocalFile)
  ) u_softmax (
    .clk_i,
    .rst_ni,
    .beats_i(beats[BeatBits-1:0]),
    .last_lanes_i(last_lanes),
    .valid_i(scores_valid),
    .ready_o(scores_ready),
    .data_i(scores),
    .valid_o(softmax_valid),
    .ready_i(softmax_ready),
    .data_o(probabilities)
  );

  lutra_bat_gearbox #(
    .InLanes(Lanes), .OutLanes(OutLanes), .Bits(16), .Granule(OutGranule), .Blocks(OutBlocks),
    .OutStep(OutLanes / OutGranule), .CountBits(CountBits)
  ) u_probabilities (
    .clk_i, .rst_ni, .in_segments_i(2'd1), .in_beats_i(beats), .in_stride_i('0),
    .out_segments_i(2'd1), .out_beats_i(quantise_beats), .out_stride_i('0), .out_offset_i('0),
    .valid_i(softmax_valid), .ready_o(softmax_ready), .data_i(probabilities), .valid_o, .ready_i, .data_o
  );

  logic unused;

  assign unused = ^{step_i, beats};

endmodule
