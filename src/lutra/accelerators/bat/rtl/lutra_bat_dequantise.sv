// The vector unit of a module with its factors and biases, and the buffer for rows of the residual.
//
// Timing: see lutra_bat_vector and lutra_bat_gearbox.
module lutra_bat_dequantise #(
  parameter int unsigned Lanes = 4,        // of the vector unit
  parameter int unsigned SumBits = 14,     // of a sum
  parameter int unsigned BeatBits = 5,     // of beats of a row
  parameter int unsigned FactorBits = 6,   // of addresses of factors
  parameter int unsigned Granule = 4,      // greatest common divisor of 8 and Lanes
  parameter int unsigned Blocks = 1,       // of a row of the residual, see lutra_bat_gearbox
  parameter int unsigned PartBits = 8      // of the number of a beat in a word
) (
  input  logic                     clk_i,             // clock
  input  logic                     rst_ni,            // synchronous reset, active low
  input  logic                     bank_i,            // bank of the step of step_i
  input  logic [1023:0]            step_i,            // its instruction
  input  logic                     load_factor_i,     // write a part of a word of factors
  input  logic                     load_bias_i,       // write a part of a word of biases
  input  logic                     load_bank_i,       // into this bank
  input  logic [15:0]              load_word_i,       // word
  input  logic [PartBits-1:0]      load_part_i,       // its 128 bits
  input  logic [127:0]             load_data_i,       // what is written
  input  logic                     sums_valid_i,      // a beat of sums is offered
  output logic                     sums_ready_o,      // it is taken
  input  logic [Lanes*SumBits-1:0] sums_data_i,       // sums, two's complement
  input  logic                     residual_valid_i,  // a beat of a row from memory is offered
  output logic                     residual_ready_o,  // it is taken
  input  logic [127:0]             residual_data_i,   // eight binary16 numbers
  output logic                     valid_o,           // a beat of results is offered
  input  logic                     ready_i,           // it is taken
  output logic [Lanes*16-1:0]      data_o,            // binary16 numbers
  output logic                     error_o            // since the reset a number left the range
);

  localparam int unsigned CountBits = 14;
  localparam int unsigned LaneBits = 9;

  // Fields of the instruction.
  logic                 use_residual, relu, use_bias, same_factor;
  logic [1:0]           copies;
  logic [4:0]           exponent;
  logic [CountBits-1:0] beats, row_beats;
  logic [LaneBits-1:0]  last_lanes;

  assign use_residual = step_i[6];
  assign relu         = step_i[7];
  assign use_bias     = step_i[12];
  assign same_factor  = step_i[13];
  assign copies       = step_i[14*16 +: 2];
  assign exponent     = step_i[15*16 +: 5];
  assign beats        = step_i[18*16 +: CountBits];
  assign last_lanes   = step_i[19*16 +: LaneBits];
  assign row_beats    = step_i[40*16 +: CountBits];

  logic                  residual_valid, residual_ready;
  logic [Lanes*16-1:0]   residual, factor, bias;
  logic [FactorBits-1:0] factor_address;
  logic [BeatBits-1:0]   bias_address;

  lutra_bat_gearbox #(
    .InLanes(8), .OutLanes(Lanes), .Bits(16), .Granule(Granule), .Blocks(Blocks), .OutStep(Lanes / Granule),
    .CountBits(CountBits)
  ) u_residual (
    .clk_i, .rst_ni, .in_segments_i(2'd1), .in_beats_i(row_beats), .in_stride_i('0),
    .out_segments_i(2'd1), .out_beats_i(beats), .out_stride_i('0), .out_offset_i('0),
    .valid_i(residual_valid_i), .ready_o(residual_ready_o), .data_i(residual_data_i),
    .valid_o(residual_valid), .ready_i(residual_ready), .data_o(residual)
  );

  lutra_bat_parameters #(.Bits(Lanes * 16), .AddressBits(FactorBits), .PartBits(PartBits)) u_factors (
    .clk_i, .write_i(load_factor_i), .write_bank_i(load_bank_i), .write_address_i(load_word_i[FactorBits-1:0]),
    .part_i(load_part_i), .data_i(load_data_i), .read_bank_i(bank_i), .read_address_i(factor_address), .data_o(factor)
  );
  lutra_bat_parameters #(.Bits(Lanes * 16), .AddressBits(BeatBits), .PartBits(PartBits)) u_biases (
    .clk_i, .write_i(load_bias_i), .write_bank_i(load_bank_i), .write_address_i(load_word_i[BeatBits-1:0]),
    .part_i(load_part_i), .data_i(load_data_i), .read_bank_i(bank_i), .read_address_i(bias_address), .data_o(bias)
  );

  lutra_bat_vector #(
    .Lanes(Lanes), .SumBits(SumBits), .BeatBits(BeatBits), .AddressBits(FactorBits), .LaneBits(LaneBits)
  ) u_vector (
    .clk_i,
    .rst_ni,
    .beats_i(beats[BeatBits-1:0]),
    .last_lanes_i(last_lanes),
    .copies_i(copies),
    .use_bias_i(use_bias),
    .use_residual_i(use_residual),
    .relu_i(relu),
    .same_factor_i(same_factor),
    .exponent_i(exponent),
    .sums_valid_i,
    .sums_ready_o,
    .sums_data_i,
    .residual_valid_i(residual_valid),
    .residual_ready_o(residual_ready),
    .residual_data_i(residual),
    .factor_address_o(factor_address),
    .factor_i(factor),
    .bias_address_o(bias_address),
    .bias_i(bias),
    .valid_o,
    .ready_i,
    .data_o,
    .error_o
  );

  logic unused;

  assign unused = ^{step_i, load_word_i, beats};

endmodule
