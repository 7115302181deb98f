--- Applies the server's edits (`workspace/applyEdit`), or refuses them: an edit is for the text
--- that the server saw, and for buffers that may be changed.

local windows = require('ingle.windows')

local M = {}

local BREAK_UNDO = 'let &l:undolevels = &l:undolevels'

--- The parts of an edit: `uri`, `version`, and `is_new` for a file that is created.
local function targets(edit)
  local found, created = {}, {}
  for _, change in ipairs(edit.documentChanges or {}) do
    if change.kind == 'create' then
      created[change.uri] = true
    elseif change.textDocument then
      local document = change.textDocument
      table.insert(found, {
        uri = document.uri,
        version = document.version,
        is_new = created[document.uri],
      })
    end
  end
  for uri in pairs(edit.changes or {}) do
    table.insert(found, { uri = uri })
  end
  return found
end

local function name_of(uri)
  return vim.fn.fnamemodify(vim.uri_to_fname(uri), ':t')
end

---@return string|nil
local function objection(target)
  if target.is_new and vim.loop.fs_stat(vim.uri_to_fname(target.uri)) then
    return name_of(target.uri) .. ' exists already'
  end
  local buffer = vim.uri_to_bufnr(target.uri)
  if not vim.api.nvim_buf_is_loaded(buffer) then
    -- A version is one of an open document.
    return target.version and not target.is_new and 'the file was closed meanwhile' or nil
  end
  if not vim.bo[buffer].modifiable or vim.bo[buffer].readonly then
    return name_of(target.uri) .. ' is read-only'
  end
  if target.version and vim.lsp.util.buf_versions[buffer] ~= target.version then
    return 'the text was changed meanwhile'
  end
end

--- Show buffers that were changed out of sight: nobody saves what he doesn't know of.
local function reveal(changed)
  for _, target in ipairs(changed) do
    local buffer = vim.uri_to_bufnr(target.uri)
    vim.bo[buffer].buflisted = true
    windows.open(buffer)
  end
end

--- Apply a workspace edit.
---@param params table of `workspace/applyEdit`
---@param encoding string of its positions
---@return table result of `workspace/applyEdit`
function M.apply(params, encoding)
  local all = targets(params.edit)
  for _, target in ipairs(all) do
    local reason = objection(target)
    if reason then
      return { applied = false, failureReason = reason }
    end
  end
  for _, target in ipairs(all) do
    if target.is_new then
      vim.fn.mkdir(vim.fn.fnamemodify(vim.uri_to_fname(target.uri), ':h'), 'p')
    end
  end
  -- What is applied is a step of undo of its own, also in the middle of typing.
  vim.cmd(BREAK_UNDO)
  local ok, problem = pcall(vim.lsp.util.apply_workspace_edit, params.edit, encoding)
  vim.cmd(BREAK_UNDO)
  if not ok then
    return { applied = false, failureReason = tostring(problem):match('[^\n]*') }
  end
  reveal(all)
  return { applied = true }
end

return M
