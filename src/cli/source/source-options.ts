import { type Command, Option } from 'commander';
import type { RegisterValue } from '../models/core-model.ts';
import { modelNames, MODELS } from '../models/models.ts';
import { pasidArgument, registerArgument } from '../terminal/arguments.ts';
import type { SourceOptions } from './source.ts';

/** The options of every command that looks into one guest. */
export interface GuestOptions extends Omit<SourceOptions, 'registers'> {
  readonly json?: boolean;
}

const CORE_MODELS = MODELS.filter(({ core }) => core !== undefined);
const CORE_REGISTERS = CORE_MODELS.flatMap(({ core }) => core?.registers ?? []);

/** What SOURCE may be, for help texts. */
export const SOURCE_HELP = 'folder of a capture, or an ELF core of guest memory (plain or gzip)';

/** Adds the options by which SOURCE and the kind of request are described. */
export function addGuestOptions(command: Command): Command {
  command
    .option('--pasid <N>', 'look at requests with this PASID instead of those without', pasidArgument)
    .option('--final', 'look at the capture after its events, not at the moment of the plug')
    .addOption(new Option('--model <KIND>', `ELF core: kind of its IOMMU (${modelNames(CORE_MODELS)})`));
  for (const { option, help } of CORE_REGISTERS) {
    command.option(`--${option} <0x...>`, `ELF core: ${help}`, registerArgument);
  }
  return command.option('--json', 'JSON instead of text for people');
}

/** The same options as {@link openSource} takes them. */
export function sourceOptions(options: GuestOptions): SourceOptions {
  const given = options as Readonly<Record<string, unknown>>;
  const registers = new Map<string, RegisterValue>();
  for (const { option } of CORE_REGISTERS) {
    const value = given[option] as RegisterValue | undefined;
    if (value !== undefined) registers.set(option, value);
  }
  return { ...options, registers };
}

/** How to find the values of registers, for help texts. */
export const CORE_HELP: string = `An ELF core is what QEMU's dump-guest-memory writes. It holds the tables but not the registers: read them
from the stopped guest in QEMU's monitor, as with "xp /2xw 0xfed90020" (low word first), and give both words as one
number.
${CORE_MODELS.map(({ core }) => core?.help ?? '').join('\n')}`;
