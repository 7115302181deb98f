--- ingle for Neovim: what users call from their configuration. Everything else is loaded when it
--- is needed. `:help ingle` describes it.

local M = {}

--- Change options; without it the defaults apply. May be called again, at any time.
---@param options table|nil see `:help ingle-options`
function M.setup(options)
  require('ingle.config').set(options or {})
  -- Nothing more is loaded here: a running server is told, none is started.
  if package.loaded['ingle.client'] then
    require('ingle.client').settings_changed()
  end
end

--- A line for a status line, like `gpt-oss-20b, 41 tokens/s`; empty while there is nothing to say.
---@return string
function M.statusline()
  local status = package.loaded['ingle.status']
  return status and status.line() or ''
end

--- Insert the ghost text, its next word or its next line.
---@param part 'all'|'word'|'line'|nil
---@return boolean whether there was ghost text
function M.accept(part)
  return require('ingle.ghost').accept(part or 'all')
end

--- Whether ghost text is on the screen.
---@return boolean
function M.is_shown()
  local ghost = package.loaded['ingle.ghost']
  return ghost ~= nil and ghost.is_shown()
end

--- Take the ghost text off the screen until the next edit.
---@return boolean whether there was any
function M.dismiss()
  return require('ingle.ghost').dismiss()
end

--- Ask for suggestions now, also several.
function M.suggest()
  require('ingle.ghost').suggest()
end

--- Show another of several suggestions.
---@param step integer|nil 1 for the next, -1 for the one before
---@return boolean whether ghost text was shown
function M.cycle(step)
  return require('ingle.ghost').cycle(step or 1)
end

return M
