import { type Command, Option } from 'commander';
import { pasidArgument, registerArgument } from '../terminal/arguments.ts';
import { MODELS, type SourceOptions } from './source.ts';

/** The options of every command that looks into one guest. */
export interface GuestOptions extends SourceOptions {
  /** undefined: requests without PASID. */
  readonly pasid?: number;
  readonly json?: boolean;
}

/** What SOURCE may be, for help texts. */
export const SOURCE_HELP = 'folder of a capture, or an ELF core of guest memory (plain or gzip)';

/** Adds the options by which SOURCE and the kind of request are described. */
export function addGuestOptions(command: Command): Command {
  return command
    .option('--pasid <N>', 'look at requests with this PASID instead of those without', pasidArgument)
    .option('--final', 'look at the capture after its events, not at the moment of the plug')
    .addOption(new Option('--model <KIND>', `ELF core: kind of its IOMMU (${MODELS.join(', ')})`))
    .option(
      '--rtaddr <0x...>',
      'ELF core: RTADDR_REG, translation table mode (bits 11:10) included',
      registerArgument,
    )
    .option('--cap <0x...>', 'ELF core: CAP_REG (default: a unit that can do everything)', registerArgument)
    .option('--ecap <0x...>', 'ELF core: ECAP_REG (likewise)', registerArgument)
    .option('--json', 'JSON instead of text for people');
}

/** How to find the value of `--rtaddr`, for help texts. */
export const CORE_HELP: string = `An ELF core is what QEMU's dump-guest-memory writes. It holds the tables but not the registers: read RTADDR_REG of the
stopped guest with "xp /2xw 0xfed90020" in QEMU's monitor (low word first) and give both words as one number. CAP_REG
is at 0xfed90008 and ECAP_REG at 0xfed90010; legacy pass-through entries are only right together with CAP_REG.`;
