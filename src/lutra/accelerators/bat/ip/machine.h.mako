<% N = core.name.upper() %>\
/* Registers of the IP core ${core.name}, build ${build_hash}, written by Lutra ${version}. README.md says how to use them. */
#ifndef ${N}_H
#define ${N}_H

#define ${N}_BUILD_HASH "${build_hash}"
#define ${N}_MODULES ${len(core.config.modules)}u
#define ${N}_POSITIONS ${core.positions}u /* tokens of the longest sentence */
#define ${N}_WIDTH ${core.image.model.width}u /* binary16 numbers of a row */
#define ${N}_ROW_BYTES ${row_bytes}u
#define ${N}_MEMORY_BYTES ${core.image.bytes_of_memory}u

<%include file="registers.h.mako"/>

#endif
