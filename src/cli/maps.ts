import type { Command } from 'commander';
import { createCommand } from 'commander';
import type { RequesterId } from '../iommu/index.ts';
import { budgetArgument, requesterArgument } from './terminal/arguments.ts';
import { listAsJson } from './maps/maps-json.ts';
import { DEFAULT_LEAVES } from './maps/maps-listing.ts';
import { listAsText } from './maps/maps-text.ts';
import type { Session } from './terminal/session.ts';
import { openSource } from './source/source.ts';
import {
  addGuestOptions,
  CORE_HELP,
  type GuestOptions,
  SOURCE_HELP,
  sourceOptions,
} from './source/source-options.ts';

interface MapsOptions extends GuestOptions {
  readonly requester?: RequesterId;
  readonly budget: number;
  readonly all?: boolean;
}

/** `viommu maps SOURCE`. */
export function mapsCommand(session: Session): Command {
  const command = createCommand('maps')
    .summary("list what a stopped guest's IOMMU maps")
    .description(
      "Walks the IOMMU tables in a stopped guest's memory and lists every mapping, for one requester or for all that " +
        'the tables know. Where an IOMMU has no tables, what the guest asked of it is done again.',
    )
    .argument('<source>', SOURCE_HELP)
    .option('--requester <BB:DD.F>', 'only this requester ID (default: all)', requesterArgument)
    .option('--all', 'show every run of mappings, however many')
    .option(
      '--budget <N>',
      'most mappings to walk before the listing is cut',
      budgetArgument,
      DEFAULT_LEAVES,
    );
  return addGuestOptions(command)
    .addHelpText('after', HELP)
    .action(async (path: string, options: MapsOptions) => {
      const source = await openSource(path, sourceOptions(options));
      const { requester, pasid, budget: leaves, all = false } = options;
      const list = options.json === true ? listAsJson : listAsText;
      session.exitCode = await list(session.io, { source, requester, pasid, leaves, all });
    });
}

const HELP = `
People see neighbouring leaves as one run, and how many there are of each size and permission. With --json there is
one line a leaf, ascending, as the tables have it, and remarks go to standard error:
  {"iova":"0xffe59000","size":4096,"gpa":"0x2de0000","perm":"w"}
Without --requester each line ends with ,"requester":"02:00.0".

${CORE_HELP}

Examples:
  $ viommu maps captures/vtd-legacy-e1000
  $ viommu maps captures/vtd-legacy-e1000 --requester 02:00.0 --final --json | head
  $ viommu maps guest.elf --model vtd --rtaddr 0x244c7000 --requester 00:04.0
  $ viommu maps guest.elf --model amdvi --devtab 0x1240007

Exit status:
  0  the listing is complete
  1  the walk was cut by the budget; standard error says where
  2  the command line is wrong, or SOURCE cannot be read
`;
