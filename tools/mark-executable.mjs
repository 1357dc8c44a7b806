// tsc writes plain files; the command must be runnable as ./dist/cli/main.js too.
import { chmodSync } from 'node:fs';

chmodSync(new URL('../dist/cli/main.js', import.meta.url), 0o755);
