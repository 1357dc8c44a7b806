import { type Command, createCommand, Option } from 'commander';
import type { RequesterId } from '../iommu/index.ts';
import { Access, pageOf } from '../memory/index.ts';
import { addressArgument, requesterArgument } from './terminal/arguments.ts';
import { ExitCode } from './terminal/exit-codes.ts';
import { outcomeOf, type Request } from './translate/outcome.ts';
import type { Session } from './terminal/session.ts';
import { openSource } from './source/source.ts';
import {
  addGuestOptions,
  CORE_HELP,
  type GuestOptions,
  SOURCE_HELP,
  sourceOptions,
} from './source/source-options.ts';
import { type Translated, translationJson, translationText } from './translate/translate-report.ts';

interface TranslateOptions extends GuestOptions {
  readonly requester: RequesterId;
  readonly access: 'r' | 'w' | 'none';
}

const ACCESS: Readonly<Record<TranslateOptions['access'], Access>> = {
  r: Access.Read,
  w: Access.Write,
  none: Access.None,
};

/** `viommu translate SOURCE --requester BB:DD.F IOVA`. */
export function translateCommand(session: Session): Command {
  const command = createCommand('translate')
    .summary('walk one address and show every table entry on the way')
    .description(
      "Follows one address of one requester through the IOMMU tables in a stopped guest's memory and shows every " +
        'structure and table that decides about it, what each entry says, and where the request ends.',
    )
    .argument('<source>', SOURCE_HELP)
    .argument('<iova>', 'byte address that the device uses, as 0xffe59000', addressArgument)
    .addOption(
      new Option('--requester <BB:DD.F>', 'requester ID of the device')
        .argParser(requesterArgument)
        .makeOptionMandatory(),
    )
    .addOption(
      new Option('--access <KIND>', 'what the device does: r, w, or none to ask what is permitted')
        .choices(Object.keys(ACCESS))
        .default('none'),
    );
  return addGuestOptions(command)
    .addHelpText('after', HELP)
    .action(async (path: string, iova: bigint, options: TranslateOptions) => {
      const { io } = session;
      const source = await openSource(path, sourceOptions(options));
      const { requester, pasid } = options;
      const request: Request = { requester, pasid, iova, access: ACCESS[options.access] };
      // Traced first: an access sets flags in the tables, and the trace is to show them as they were found.
      const trace = source.unit.trace(requester, pasid, pageOf(iova));
      const translated: Translated = { source, request, trace, outcome: outcomeOf(source.unit, request) };
      await io.out(options.json === true ? translationJson(translated) : translationText(translated, io));
      const { kind } = translated.outcome;
      session.exitCode = kind === 'fault' || kind === 'interrupt' ? ExitCode.Different : ExitCode.Ok;
    });
}

const HELP = `
Each line names a structure, the address of the table with the number of the entry, the raw entry and what it means.
Where translation is nested, the second-stage walks of first-stage tables and of the page are indented. The last line
is the outcome: the guest-physical address with the size of the leaf and its permission, or the fault under the
specification's name, code and reason. --json prints all of it as one object on one line.

${CORE_HELP}

Examples:
  $ viommu translate captures/vtd-legacy-e1000 --requester 02:00.0 0xffe59123
  $ viommu translate captures/vtd-legacy-e1000 --requester 02:00.0 --access w 0xdead000
  $ viommu translate guest.elf --model vtd --rtaddr 0x149541400 --requester 00:04.0 --json 0xfffff000

Exit status:
  0  the request reaches guest memory
  1  it does not: a fault, or the interrupt range
  2  the command line is wrong, or SOURCE cannot be read
`;
