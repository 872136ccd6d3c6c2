// Second pass of the softmax: the distance of a score from its row's largest one selects its exponential in a table.
//
// Timing: two cycles, a score in each.
module lutra_transformer_softmax_lane (
  input  logic        clk_i,            // clock
  input  logic        table_write_i,    // store an entry of the table; no score then
  input  logic [7:0]  table_address_i,  // which: the distance
  input  logic [6:0]  table_data_i,     // the exponential there
  input  logic        enable_i,         // score_i is one
  input  logic        visible_i,        // the row sees it
  input  logic [15:0] score_i,          // int16
  input  logic [15:0] max_i,            // the row's largest score, int16
  output logic [6:0]  exponential_o     // 0 if it is not seen, or lies 256 or more below the largest one
);

  logic        enable_1_q, near_1_q, near_2_q;
  logic [16:0] distance;
  logic [7:0]  address_1_q;
  logic [6:0]  entry;

  assign distance      = {max_i[15], max_i} - {score_i[15], score_i};
  assign exponential_o = near_2_q ? entry : '0;

  always_ff @(posedge clk_i) begin
    enable_1_q <= enable_i;
    if (enable_i) begin
      near_1_q    <= visible_i && distance[16:8] == '0;
      address_1_q <= distance[7:0];
    end
    if (enable_1_q) begin
      near_2_q <= near_1_q;
    end
  end

  lutra_lut_memory #(.Words(256), .Bits(7), .AddressBits(8), .OneAddress(1'b1)) u_table (
    .clk_i, .write_i(table_write_i), .write_address_i(table_address_i), .data_i(table_data_i),
    .read_i(enable_1_q), .read_address_i(address_1_q), .data_o(entry)
  );

endmodule
