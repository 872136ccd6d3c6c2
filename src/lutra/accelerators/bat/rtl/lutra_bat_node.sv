// A module of BAT with its two AXI4 ports: one loads its program with all weights, one reads and writes binary16 rows.
//
// The ports never wait for each other, so that a program is loaded in the same cycles whatever rows do.
//
// Timing: see lutra_bat_module, lutra_bat_dma_read and lutra_bat_dma_write.
module lutra_bat_node #(
  parameter int unsigned Units = 4,             // dot product units of the engine
  parameter int unsigned Elements = 32,         // products of a unit per cycle
  parameter int unsigned Bits = 4,              // of a code
  parameter int unsigned SumBits = 14,          // of a sum
  parameter int unsigned Sums = 0,              // how units add (lutra_bat_dpu)
  parameter int unsigned HeadWidth = 16,        // of a head
  parameter bit          Attention = 1,         // runs attention, and not only feed-forward blocks
  parameter int unsigned VectorLanes = 4,       // of the vector unit
  parameter int unsigned QuantiseLanes = 4,     // of the quantisation unit
  parameter int unsigned NormLanes = 2,         // of the layer norm
  parameter int unsigned SoftmaxLanes = 4,      // of the softmax
  parameter bit          Scale = 0,             // the quantisation unit multiplies
  parameter int unsigned VectorBeatBits = 5,    // of beats of a row of the vector unit
  parameter int unsigned QuantiseBeatBits = 5,  // of the quantisation unit
  parameter int unsigned NormBeatBits = 6,      // of the layer norm
  parameter int unsigned SoftmaxBeatBits = 5,   // of the softmax
  parameter int unsigned FactorBits = 6,        // of addresses of factors
  parameter int unsigned NormFifoBits = 7,      // see lutra_bat_norm
  parameter int unsigned WidthBits = 7,         // log2 of the widest row of a layer norm
  parameter int unsigned SoftmaxFifoBits = 6,   // see lutra_bat_softmax
  parameter int unsigned TokenBits = 5,         // log2 of the longest row of a softmax
  parameter int unsigned InputWords = 64,       // words of the inputs of blocks
  parameter int unsigned WorkWords = 64,        // words of what blocks compute
  parameter int unsigned WeightWords = 64,      // words of a bank of weights
  parameter int unsigned PlaneWords = 64,       // words of keys and values
  parameter int unsigned XGranule = 4,          // see lutra_bat_store
  parameter int unsigned PeerGranule = 4,       // XGranule of the other module
  parameter int unsigned InputGranule = 4,      // greatest common divisor of both
  parameter int unsigned ValueLanes = 4,        // see lutra_bat_store
  parameter int unsigned YGranule = 4,          // see lutra_bat_store
  parameter int unsigned ValueWords = 8,        // see lutra_bat_store
  parameter int unsigned SumBlocks = 1,         // blocks of a row, see lutra_bat_gearbox: from engine to vector unit,
  parameter int unsigned NumberBlocks = 1,      // vector unit to quantisation unit,
  parameter int unsigned NumberStep = 1,        // (its OutStep,)
  parameter int unsigned ScoreBlocks = 1,       // vector unit to softmax,
  parameter int unsigned ProbabilityBlocks = 1, // softmax to quantisation unit,
  parameter int unsigned NormBlocks = 1,        // vector unit to layer norm,
  parameter int unsigned NormedBlocks = 1,      // layer norm to quantisation unit,
  parameter int unsigned WrittenBlocks = 1,     // layer norm to memory,
  parameter int unsigned ResidualBlocks = 1,    // memory to vector unit,
  parameter int unsigned FirstBlocks = 1,       // memory to quantisation unit
  parameter int unsigned SumGranule = 4,        // greatest common divisors of lanes, in the same order
  parameter int unsigned NumberGranule = 4,
  parameter int unsigned ScoreGranule = 4,
  parameter int unsigned ProbabilityGranule = 4,
  parameter int unsigned NormGranule = 2,
  parameter int unsigned NormedGranule = 2,
  parameter int unsigned WrittenGranule = 2,
  parameter int unsigned ResidualGranule = 4,
  parameter int unsigned FirstGranule = 4,
  parameter              ExpFile = "bat_exp.hex",               // see lutra_bat_softmax
  parameter              ReciprocalFile = "bat_reciprocal.hex", // see lutra_bat_softmax
  parameter              RootFile = "bat_root.hex"              // see lutra_bat_norm
) (
  input  logic                            clk_i,            // clock
  input  logic                            rst_ni,           // synchronous reset, active low
  input  logic                            start_i,          // run a program
  input  logic [31:0]                     program_i,        // its address, a multiple of 16
  output logic                            done_o,           // its last step is done, for one cycle
  output logic [3:0]                      errors_o,         // since the reset: a number left the range in the vector unit,
                                                            // the quantisation unit, the layer norm; memory failed
  output logic                            job_end_o,        // see lutra_bat_module, as all up to input_data_i
  input  logic                            peer_job_end_i,
  output logic [Elements/XGranule-1:0]    peer_write_o,
  output logic [15:0]                     peer_address_o,
  output logic [Elements*Bits-1:0]        peer_data_o,
  input  logic [Elements/PeerGranule-1:0] input_write_i,
  input  logic [15:0]                     input_address_i,
  input  logic [Elements*Bits-1:0]        input_data_i,
  output logic [31:0]                     load_araddr_o,    // AXI4 for the program: address of a burst
  output logic [7:0]                      load_arlen_o,
  output logic [2:0]                      load_arsize_o,
  output logic [1:0]                      load_arburst_o,
  output logic                            load_arvalid_o,
  input  logic                            load_arready_i,
  input  logic [127:0]                    load_rdata_i,     // a beat of it
  input  logic [1:0]                      load_rresp_i,
  input  logic                            load_rlast_i,
  input  logic                            load_rvalid_i,
  output logic                            load_rready_o,
  output logic [31:0]                     rows_araddr_o,    // AXI4 for rows: address of a burst that is read
  output logic [7:0]                      rows_arlen_o,
  output logic [2:0]                      rows_arsize_o,
  output logic [1:0]                      rows_arburst_o,
  output logic                            rows_arvalid_o,
  input  logic                            rows_arready_i,
  input  logic [127:0]                    rows_rdata_i,     // a beat of it
  input  logic [1:0]                      rows_rresp_i,
  input  logic                            rows_rlast_i,
  input  logic                            rows_rvalid_i,
  output logic                            rows_rready_o,
  output logic [31:0]                     rows_awaddr_o,    // address of a burst that is written
  output logic [7:0]                      rows_awlen_o,
  output logic [2:0]                      rows_awsize_o,
  output logic [1:0]                      rows_awburst_o,
  output logic                            rows_awvalid_o,
  input  logic                            rows_awready_i,
  output logic [127:0]                    rows_wdata_o,     // a beat of it
  output logic [15:0]                     rows_wstrb_o,
  output logic                            rows_wlast_o,
  output logic                            rows_wvalid_o,
  input  logic                            rows_wready_i,
  input  logic [1:0]                      rows_bresp_i,     // the burst is written
  input  logic                            rows_bvalid_i,
  output logic                            rows_bready_o
);

  logic         load_start, load_valid, load_ready, read_start, read_valid, read_ready, write_start, write_valid;
  logic         write_ready, write_done, unused_load_done, unused_read_done;
  logic [31:0]  load_address, read_address, write_address;
  logic [23:0]  load_beats, row_beats;
  logic [127:0] load_data, read_data, write_data;
  logic [2:0]   range_errors, memory_errors;

  assign errors_o = {memory_errors != '0, range_errors};

  lutra_bat_module #(
    .Units(Units),
    .Elements(Elements),
    .Bits(Bits),
    .SumBits(SumBits),
    .Sums(Sums),
    .HeadWidth(HeadWidth),
    .Attention(Attention),
    .VectorLanes(VectorLanes),
    .QuantiseLanes(QuantiseLanes),
    .NormLanes(NormLanes),
    .SoftmaxLanes(SoftmaxLanes),
    .Scale(Scale),
    .VectorBeatBits(VectorBeatBits),
    .QuantiseBeatBits(QuantiseBeatBits),
    .NormBeatBits(NormBeatBits),
    .SoftmaxBeatBits(SoftmaxBeatBits),
    .FactorBits(FactorBits),
    .NormFifoBits(NormFifoBits),
    .WidthBits(WidthBits),
    .SoftmaxFifoBits(SoftmaxFifoBits),
    .TokenBits(TokenBits),
    .InputWords(InputWords),
    .WorkWords(WorkWords),
    .WeightWords(WeightWords),
    .PlaneWords(PlaneWords),
    .XGranule(XGranule),
    .PeerGranule(PeerGranule),
    .InputGranule(InputGranule),
    .ValueLanes(ValueLanes),
    .YGranule(YGranule),
    .ValueWords(ValueWords),
    .SumBlocks(SumBlocks),
    .NumberBlocks(NumberBlocks),
    .NumberStep(NumberStep),
    .ScoreBlocks(ScoreBlocks),
    .ProbabilityBlocks(ProbabilityBlocks),
    .NormBlocks(NormBlocks),
    .NormedBlocks(NormedBlocks),
    .WrittenBlocks(WrittenBlocks),
    .ResidualBlocks(ResidualBlocks),
    .FirstBlocks(FirstBlocks),
    .SumGranule(SumGranule),
    .NumberGranule(NumberGranule),
    .ScoreGranule(ScoreGranule),
    .ProbabilityGranule(ProbabilityGranule),
    .NormGranule(NormGranule),
    .NormedGranule(NormedGranule),
    .WrittenGranule(WrittenGranule),
    .ResidualGranule(ResidualGranule),
    .FirstGranule(FirstGranule),
    .ExpFile(ExpFile),
    .ReciprocalFile(ReciprocalFile),
    .RootFile(RootFile)
  ) u_module (
    .clk_i,
    .rst_ni,
    .start_i,
    .program_i,
    .done_o,
    .errors_o(range_errors),
    .job_end_o,
    .peer_job_end_i,
    .peer_write_o,
    .peer_address_o,
    .peer_data_o,
    .input_write_i,
    .input_address_i,
    .input_data_i,
    .load_start_o(load_start),
    .load_address_o(load_address),
    .load_beats_o(load_beats),
    .load_valid_i(load_valid),
    .load_ready_o(load_ready),
    .load_data_i(load_data),
    .read_start_o(read_start),
    .write_start_o(write_start),
    .read_address_o(read_address),
    .write_address_o(write_address),
    .row_beats_o(row_beats),
    .read_valid_i(read_valid),
    .read_ready_o(read_ready),
    .read_data_i(read_data),
    .write_valid_o(write_valid),
    .write_ready_i(write_ready),
    .write_data_o(write_data),
    .write_done_i(write_done)
  );

  lutra_bat_dma_read u_load (
    .clk_i,
    .rst_ni,
    .start_i(load_start),
    .address_i(load_address),
    .beats_i(load_beats),
    .done_o(unused_load_done),
    .error_o(memory_errors[0]),
    .arvalid_o(load_arvalid_o),
    .arready_i(load_arready_i),
    .araddr_o(load_araddr_o),
    .arlen_o(load_arlen_o),
    .arsize_o(load_arsize_o),
    .arburst_o(load_arburst_o),
    .rvalid_i(load_rvalid_i),
    .rready_o(load_rready_o),
    .rdata_i(load_rdata_i),
    .rresp_i(load_rresp_i),
    .rlast_i(load_rlast_i),
    .valid_o(load_valid),
    .ready_i(load_ready),
    .data_o(load_data)
  );

  lutra_bat_dma_read u_read (
    .clk_i,
    .rst_ni,
    .start_i(read_start),
    .address_i(read_address),
    .beats_i(row_beats),
    .done_o(unused_read_done),
    .error_o(memory_errors[1]),
    .arvalid_o(rows_arvalid_o),
    .arready_i(rows_arready_i),
    .araddr_o(rows_araddr_o),
    .arlen_o(rows_arlen_o),
    .arsize_o(rows_arsize_o),
    .arburst_o(rows_arburst_o),
    .rvalid_i(rows_rvalid_i),
    .rready_o(rows_rready_o),
    .rdata_i(rows_rdata_i),
    .rresp_i(rows_rresp_i),
    .rlast_i(rows_rlast_i),
    .valid_o(read_valid),
    .ready_i(read_ready),
    .data_o(read_data)
  );

  lutra_bat_dma_write u_write (
    .clk_i,
    .rst_ni,
    .start_i(write_start),
    .address_i(write_address),
    .beats_i(row_beats),
    .done_o(write_done),
    .error_o(memory_errors[2]),
    .awvalid_o(rows_awvalid_o),
    .awready_i(rows_awready_i),
    .awaddr_o(rows_awaddr_o),
    .awlen_o(rows_awlen_o),
    .awsize_o(rows_awsize_o),
    .awburst_o(rows_awburst_o),
    .wvalid_o(rows_wvalid_o),
    .wready_i(rows_wready_i),
    .wdata_o(rows_wdata_o),
    .wstrb_o(rows_wstrb_o),
    .wlast_o(rows_wlast_o),
    .bvalid_i(rows_bvalid_i),
    .bready_o(rows_bready_o),
    .bresp_i(rows_bresp_i),
    .valid_i(write_valid),
    .ready_o(write_ready),
    .data_i(write_data)
  );

endmodule
