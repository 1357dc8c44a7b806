#!/usr/bin/env node
import { processIo } from './terminal/io.ts';
import { run } from './run.ts';

const io = processIo();
// Not process.exit: what is written to a pipe must arrive.
process.exitCode = await run(process.argv.slice(2), io);
if (io.gaveUp) process.exit();
